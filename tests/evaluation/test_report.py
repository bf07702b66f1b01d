"""The files of the report."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from matplotlib import image

from tfp_bruno.errors import UserError
from tfp_bruno.evaluation import format_summary, report, write_report

SCORES = {'ssim', 'cc', 'psnr', 'mask_ssim', 'mask_cc', 'sharpness'}
METHODS = set(report.METHOD_LABELS) - {'known_frame'}


def test_metrics_json_holds_scores_and_provenance(report_paths, evaluation):
    found = json.loads(report_paths['metrics.json'].read_text())
    assert list(found['contexts']) == ['0', '1', '2', '4', '5']
    for methods in found['contexts'].values():
        assert set(methods) == METHODS
        for scores in methods.values():
            assert set(scores) == SCORES | {'ssim_no_contexts', 'cc_no_contexts', 'psnr_no_contexts'}
    # Finite values are written exactly.
    assert found['contexts']['4']['linear']['ssim'] == evaluation.scores[4]['linear']['ssim']
    assert found['standard_errors']['4']['linear']['ssim'] == evaluation.standard_errors[4]['linear']['ssim']
    assert found['spectra']['4']['samples']['2-4'] == evaluation.spectra[4]['samples']['2-4']
    assert found['calibration']['4']['variogram'] == evaluation.calibration[4]['variogram']
    assert found['context_slices']['4'] == [2, 6, 10, 14]
    assert len(found['ssim_over_slices']['4']['mean_image']) == 16
    expected = {
        'dataset': 'fetal',
        'split': 'test',
        'data': 'made-up blobs',
        'is_phantom': True,
        'run': 'runs/one',
        'trained_on': 'other blobs',
        'version': '1.2.3',
        'bits_per_dimension': 8,
        'num_subjects': 4,
        'num_train_subjects': 6,
        'num_samples': 8,
        'score_samples': 3,
        'seed': 5,
    }
    assert {name: found[name] for name in expected} == expected


def test_metrics_md_has_a_table_for_each_count(report_paths, evaluation, provenance):
    lines = report_paths['metrics.md'].read_text().splitlines()
    assert 'SYNTHETIC PHANTOM' in lines[0]
    assert 'made-up blobs' in lines[0]
    assert '## 4 contexts (2, 6, 10, 14)' in lines
    assert '## No contexts (the prior)' in lines
    assert sum(line.startswith('| model, mean image') for line in lines) == 5
    value = evaluation.scores[0]['mean_image']['mask_ssim']
    first = next(line for line in lines if line.startswith('| model, mean image'))
    assert f'{value:.3f} ±' in first
    real = report.format_markdown(evaluation, dataclasses.replace(provenance, is_phantom=False))
    assert 'SYNTHETIC' not in real


def test_format_markdown_mentions_subjects_that_were_trained_on(evaluation, provenance):
    seen = dataclasses.replace(evaluation, num_trained_on=2)
    assert '2 of the scored subjects were trained on' in report.format_markdown(seen, provenance)
    assert 'were trained on' not in report.format_markdown(evaluation, provenance)


def test_format_summary_has_a_line_for_each_count_and_method(evaluation, provenance):
    lines = [line for line in format_summary(evaluation, provenance).splitlines() if line.startswith('|')]
    tables = np.split(np.array(lines), np.cumsum([2 + 5 * 10, 2 + 5]))
    _, calibration, spectra = tables
    assert len(spectra) == 2 + 5 * 2
    assert 'CRPS | variogram score' in calibration[0]
    assert [cell.strip() for cell in spectra[0].split('|')[3:6]] == ['2-4 pixels', '4-8 pixels', '8-16 pixels']
    value = evaluation.spectra[4]['samples']['4-8']
    [row] = [line for line in spectra if line.split('|')[1:3] == ['        4 ', ' model, single samples ']]
    assert f'| {value:.3f} ±' in row
    for table in tables:
        assert len({len(line) for line in table}) == 1


def test_plots_have_a_sensible_size(report_paths):
    for name in ('ssim_over_slices.png', 'completions.png'):
        height, width = image.imread(report_paths[name]).shape[:2]
        assert 600 < width < 3000
        assert 600 < height < 5000
    assert sorted(path.name for path in report_paths['metrics.md'].parent.iterdir()) == sorted(report_paths)


def test_to_json_replaces_values_that_are_not_finite(evaluation, provenance):
    scores = {0: {'linear': {'psnr': np.inf, 'cc': np.nan}}}
    found = report.to_json(dataclasses.replace(evaluation, scores=scores), provenance)
    assert found['contexts'] == {'0': {'linear': {'psnr': None, 'cc': None}}}


def test_write_report_names_a_folder_that_cannot_be_written(tmp_path, evaluation, provenance):
    pathlib.Path(tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        write_report(tmp_path / 'file' / 'evaluation', evaluation, provenance)


def test_write_report_writes_the_scores_before_pictures(tmp_path, evaluation, provenance, monkeypatch):
    monkeypatch.setattr(report.plots, 'to_png', lambda _: pytest.fail('draws', pytrace=False))
    with pytest.raises(pytest.fail.Exception, match='draws'):
        write_report(tmp_path, evaluation, provenance)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['metrics.json', 'metrics.md']
