"""The report of a study lists its subjects, their warnings and errors, and links to their reports."""

import html
import os
import pathlib
import re
import urllib.parse

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import find_subjects
from tfp_bruno.reconstruction import OutputSettings, ReconstructionSettings, SliceSelection
from tfp_bruno.reconstruction.html_report import render
from tfp_bruno.reconstruction.study import StudySettings, reconstruct_study
from tfp_bruno.reconstruction.study_report import write_study_report

QUICK = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(spacing=8.0))
SETTINGS = StudySettings(SliceSelection(slices=(20, 60)), reconstruction=QUICK)


def test_render_study_escapes_errors_and_warnings(parse_page):
    row = {'name': 'sub-1', 'state': 'failed', 'error': '<b>bad</b>', 'report': None, 'contexts': [], 'lowest': None}
    row |= {'warnings': ['<i>odd</i>']}
    values = {'done': 0, 'skipped': 0, 'failed': 1, 'command': 'bin/reconstruct', 'warnings': ['<i>b.mgz</i>']}
    text = render('study', 'a study', {}, rows=[row | {'picture': None}], **values)
    parse_page(text)
    assert '&lt;b&gt;bad&lt;/b&gt;' in text
    assert '&lt;i&gt;odd&lt;/i&gt;' in text
    assert '<p class="note warning">&lt;i&gt;b.mgz&lt;/i&gt;</p>' in text


def test_write_study_report_shows_the_warnings_of_a_subject(tmp_path, model, write_scan):
    path = write_scan(tmp_path / 'study' / 'a.nii', 0)
    labels = np.kron(np.arange(64).reshape(4, 4, 4) % 5, np.ones((4, 4, 4))).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([8.0, 8, 8, 1])), path)
    outcomes = reconstruct_study(model, find_subjects(tmp_path / 'study'), tmp_path / 'out', SETTINGS)
    write_study_report(tmp_path / 'out', outcomes, 'a study', 'bin/reconstruct')
    assert f'{path}: looks like a label map or a mask' in (tmp_path / 'out' / 'report.html').read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', ['a b', 'a#b', '50%20', 'what?', 'a&b;c', 'a:b', 'ä', 'javascript:alert(1)', '"><script>', '$\\frac$']
)
def test_write_study_report_links_to_the_reports_whatever_the_names(tmp_path, model, name, write_scan):
    write_scan(tmp_path / 'study' / f'{name}.nii', 0)
    reporting = ReconstructionSettings(std_samples=0, output=QUICK.output)
    wanted = StudySettings(SETTINGS.selection, reconstruction=reporting)
    outcomes = reconstruct_study(model, find_subjects(tmp_path / 'study'), tmp_path / 'out', wanted)
    write_study_report(tmp_path / 'out', outcomes, 'a study', 'bin/reconstruct')
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    (link,) = re.findall(r'href="([^"]*)"', page)
    # The file to which a browser resolves it.
    url = urllib.parse.urlsplit(urllib.parse.urljoin(f'{(tmp_path / "out").as_uri()}/report.html', html.unescape(link)))
    assert (url.query, url.fragment) == ('', '')
    assert pathlib.Path(urllib.parse.unquote(url.path)).samefile(tmp_path / 'out' / name / 'report.html')
    assert '<script' not in page
    for text in (page, (tmp_path / 'out' / name / 'report.html').read_text(encoding='utf-8')):
        assert '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; ' in text


def test_write_study_report_in_a_folder_whose_name_is_not_utf_8(tmp_path, model, write_scan):
    folder = tmp_path / os.fsdecode(b'study\xff$x$')
    write_scan(folder / 'a.nii', 0)
    wanted = StudySettings(
        SETTINGS.selection, reconstruction=ReconstructionSettings(std_samples=0, output=QUICK.output)
    )
    outcomes = reconstruct_study(model, find_subjects(folder), folder / 'out', wanted)
    assert [outcome.error for outcome in outcomes] == ['']
    write_study_report(folder / 'out', outcomes, 'a study', f'bin/reconstruct --bids_dir={folder}')
    page = (folder / 'out' / 'report.html').read_text(encoding='utf-8')
    assert r'study\udcff$x$' in page
    assert 'href="a/report.html"' in page


@pytest.mark.parametrize('damage', ['sidecar', 'scores', 'mean'])
def test_write_study_report_shows_a_damaged_result_in_its_row(tmp_path, model, write_scan, damage):
    for number in range(2):
        write_scan(tmp_path / 'study' / f'{number}.nii', number)
    outcomes = reconstruct_study(model, find_subjects(tmp_path / 'study'), tmp_path / 'out', SETTINGS)
    folder = tmp_path / 'out' / '0'
    if damage == 'mean':
        (folder / 'mean.nii.gz').write_bytes(b'cut')
    else:
        (folder / 'reconstruction.json').write_text('{"sc' if damage == 'sidecar' else '{"scores": [1]}')
    write_study_report(tmp_path / 'out', outcomes, 'a study', 'bin/reconstruct')
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.count('Remove its folder, and complete it again.') == 1
    assert page.count('class="failed"') == 1
    assert page.count('<img ') == 1
