"""The report of a study lists its subjects, their warnings and errors, and links to their reports."""

import html
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
@pytest.mark.parametrize('name', ['a b', 'a#b', '50%20', 'what?', 'a&b;c', 'a:b', 'ä'])
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
