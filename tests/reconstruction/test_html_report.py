"""The report of a subject is a self-contained page that a browser shows."""

import shutil
import subprocess

import matplotlib.image
import pytest

from tfp_bruno.data import extract_stack, get_definition
from tfp_bruno.reconstruction import (
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    reconstruct,
)

FETAL = get_definition('fetal')
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


@pytest.fixture(scope='module')
def report(tmp_path_factory, oblique_scan, make_model, fake_scores):
    """The folder of a reconstruction with a report."""
    scan, _ = oblique_scan
    model = make_model(extract_stack(scan, FETAL).images, noise=0.02)
    contexts = contexts_of_scan(scan, SliceSelection(slices=(30, 50)), FETAL)
    folder = tmp_path_factory.mktemp('report') / 'out'
    settings = ReconstructionSettings(
        num_samples=1, std_samples=3, output=OutputSettings(2.0), command='bin/reconstruct --stack="<script>"'
    )
    reconstruct(model, contexts, folder, settings, fake_scores)
    return folder


def test_report_is_one_well_formed_page_that_loads_nothing(report, parse_page):
    text = (report / 'report.html').read_text()
    page = parse_page(text)
    sources = [attributes['src'] for tag, attributes in page.tags if tag == 'img']
    assert len(sources) == 3
    assert all(source.startswith('data:image/png;base64,iVBOR') for source in sources)
    assert not [tag for tag, _ in page.tags if tag in ('script', 'link', 'iframe')]
    assert '&lt;script&gt;' in text
    # Every slice of the scan has its scores; a context is scored given the other one.
    assert text.count('<td class="number">') == 3 * 80
    assert '<td class="number">50</td><td>yes</td><td class="number">5.000</td><td class="number">-1.0</td>' in text
    assert '<td class="number">51</td><td></td><td class="number">5.100</td><td class="number">-2.0</td>' in text
    assert 'phantoms (synthetic data)' in text


@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
def test_report_is_shown_by_a_browser(report, tmp_path):
    picture = tmp_path / 'shot.png'
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', f'--user-data-dir={tmp_path / "user"}']
    url = f'file://{report / "report.html"}'
    done = subprocess.run(
        [BROWSER, *flags, '--window-size=1200,2400', f'--screenshot={picture}', url],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert picture.exists(), done.stderr
    shot = matplotlib.image.imread(picture)[..., :3]
    assert shot.shape == (2400, 1200, 3)
    # Text on white; the black and the yellow of the planes, the colours of the deviation, the red of the contexts.
    assert (shot > 0.98).all(-1).mean() > 0.2
    assert (shot < 0.02).all(-1).mean() > 0.05
    assert ((shot[..., 0] > 0.8) & (shot[..., 1] > 0.8) & (shot[..., 2] < 0.3)).sum() > 100
    assert ((shot[..., 0] > 0.8) & (shot[..., 1] < 0.3) & (shot[..., 2] < 0.3)).sum() > 20
