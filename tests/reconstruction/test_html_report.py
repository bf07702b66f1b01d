"""The reports, as a browser shows them."""

import html.parser
import io
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.data import extract_stack, get_definition
from tfp_bruno.reconstruction import (
    Contexts,
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    reconstruct,
)
from tfp_bruno.reconstruction.html_report import render
from tfp_bruno.reconstruction.pictures import three_planes
from tfp_bruno.reconstruction.scores import score_slices

FETAL = get_definition('fetal')
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


class Page(html.parser.HTMLParser):
    """Collects the tags of a page; every one must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ('meta', 'img', 'br'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def fake_scores(images, slices, contexts, context_slices):
    """Bits that tell the slice, anomaly scores that tell how many contexts there were."""
    return np.array(slices) / 10, np.full(len(slices), -float(len(context_slices)))


@pytest.fixture(scope='module')
def report(tmp_path_factory, oblique_scan, make_model):
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


def test_it_is_one_well_formed_page_that_loads_nothing(report):
    text = (report / 'report.html').read_text()
    page = Page(text)
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


def test_scores_of_single_slices_are_those_of_the_contexts(ellipsoid):
    contexts = Contexts((10, 20, 40), ellipsoid[[10, 20, 40]], np.eye(4))
    scores = score_slices(fake_scores, contexts)
    assert scores.positions == (10, 20, 40)
    assert scores.is_context.all()
    np.testing.assert_allclose(scores.bits, [1, 2, 4])
    np.testing.assert_allclose(scores.anomaly, [-2, -2, -2])


def test_the_sides_of_the_planes():
    # A bright block at the right, anterior, superior corner of the anatomy; axes grow to right, anterior, superior.
    mask = np.zeros((30, 36, 40), bool)
    mask[4:26, 4:32, 4:36] = True
    data = mask * 0.3
    data[20:26, 26:32, 30:36] = 1.0
    picture = matplotlib.image.imread(io.BytesIO(three_planes([('mean', data, 'gray')], mask, '')))[..., :3]
    # Of each strip the last plane that has the block: it is on its left (R, R, A), and on top.
    strips = _strips(picture)
    assert len(strips) == 3
    for strip in strips:
        rows, columns = np.nonzero(strip > 0.95)
        assert len(rows) > 20
        width = strip.shape[1] / 7
        assert (columns % width < 0.45 * width).mean() > 0.95
        assert np.median(rows) < strip.shape[0] / 2


def _strips(picture):
    """The three pictures of planes: rows that are mostly not white."""
    grey = picture.min(-1)
    dark = (grey < 0.9).mean(1) > 0.5
    labels, count = ndimage.label(dark)
    parts = []
    for number in range(1, count + 1):
        rows = np.nonzero(labels == number)[0]
        if len(rows) > 20:
            block = picture[rows[0] : rows[-1] + 1]
            columns = np.nonzero((block.min(-1) < 0.9).mean(0) > 0.5)[0]
            # Without the mixed pixels of the frame.
            part = block[3:-3, columns[0] + 3 : columns[-1] - 2]
            # The labels are yellow.
            parts.append(np.where(part[..., 0] - part[..., 2] > 0.2, 0, part.min(-1)))
    return parts


def test_the_table_of_a_study():
    row = {'name': 'sub-1', 'state': 'failed', 'error': '<b>bad</b>', 'report': None, 'contexts': [], 'lowest': None}
    row |= {'warnings': ['<i>odd</i>']}
    values = {'done': 0, 'skipped': 0, 'failed': 1, 'command': 'bin/reconstruct', 'warnings': ['<i>b.mgz</i>']}
    text = render('study', 'a study', {}, rows=[row | {'picture': None}], **values)
    Page(text)
    assert '&lt;b&gt;bad&lt;/b&gt;' in text
    assert '&lt;i&gt;odd&lt;/i&gt;' in text
    assert '<p class="note warning">&lt;i&gt;b.mgz&lt;/i&gt;</p>' in text


@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
def test_a_browser_shows_it(report, tmp_path):
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
