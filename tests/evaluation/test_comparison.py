"""Comparison of evaluated runs."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from matplotlib import image

from tfp_bruno.baselines import LinearInterpolation, TrainingMean
from tfp_bruno.errors import UserError
from tfp_bruno.evaluation import (
    EvaluatedRun,
    check_comparable,
    choose_count,
    complete_examples,
    describe_metrics,
    format_table,
    read_metrics,
    results_folder,
    write_comparison,
)


@pytest.fixture
def metrics(tmp_path, report_paths):
    """The metrics of two evaluated runs, by folder."""
    folders = [tmp_path / name for name in ('gqn', 'ours')]
    for folder in folders:
        shutil.copytree(report_paths['metrics.json'].parent, folder / 'evaluation')
    return {str(folder): read_metrics(folder) for folder in folders}


@pytest.fixture
def runs(metrics):
    one, two = metrics
    return [
        EvaluatedRun(pathlib.Path(one), 'gqn (cpu)', False, metrics[one]),
        EvaluatedRun(pathlib.Path(two), 'bruno (cpu)', True, metrics[two]),
    ]


def test_choose_count_is_the_largest_common_count_up_to_four(metrics):
    counts = check_comparable(metrics)
    assert counts == ('0', '1', '2', '4', '5')
    assert choose_count(counts) == '4'
    assert choose_count(('5', '9')) == '5'


def test_write_comparison_writes_scores_table_and_plots(runs, train, test, tmp_path, evaluation):
    models = {'gqn (cpu)': TrainingMean(train.images), 'bruno (cpu)': LinearInterpolation(train.images)}
    examples = complete_examples(models, test, (2, 6, 10, 14))
    assert [example.name for example in examples] == list(test.names[:2])
    np.testing.assert_allclose(examples[1].completions['gqn (cpu)'], train.images.mean(0), atol=1e-6)
    np.testing.assert_array_equal(examples[1].completions['bruno (cpu)'][6], test.images[1, 6])
    paths = {path.name: path for path in write_comparison(tmp_path / 'out', runs, examples)}
    found = json.loads(paths['comparison.json'].read_text())
    scores = found['contexts']['4']
    assert scores['gqn (cpu), mean image'] == json.loads(json.dumps(evaluation.scores[4]['mean_image']))
    assert scores['linear interpolation']['ssim'] == evaluation.scores[4]['linear']['ssim']
    assert found['has_exact_log_prob'] == {'gqn (cpu)': False, 'bruno (cpu)': True}
    text = paths['comparison.md'].read_text()
    assert text.startswith('# SYNTHETIC PHANTOM')
    assert '≤ 8.000 bits per dimension' in text
    assert sum(line.startswith('|') for line in text.splitlines()) == 2 + 5 * (2 * 2 + 7)
    assert len({len(line) for line in format_table(runs)}) == 1
    for name in ('completions.png', 'ssim_over_slices.png'):
        height, width = image.imread(paths[name]).shape[:2]
        assert 500 < width < 3000
        assert 500 < height < 3000


def test_a_known_frame_is_a_row_of_the_run_that_has_it(runs):
    without = runs[0].metrics['contexts']
    scores = {'0': {**without['0'], 'known_frame': {'mask_ssim': 0.4321}}}
    second = dataclasses.replace(runs[1], metrics={**runs[1].metrics, 'contexts': {**without, **scores}})
    rows = [line for line in format_table([runs[0], second]) if 'size and place known' in line]
    assert [row.split('|')[1:4] for row in rows] == [
        ['        0 ', ' bruno (cpu), mean image, size and place known from the truth ', '        0.432 ']
    ]


@pytest.mark.parametrize('kind', ['missing', 'damaged', 'old'])
def test_read_metrics_names_the_run_to_evaluate(metrics, kind):
    folder = pathlib.Path(next(iter(metrics)))
    path = folder / 'evaluation' / 'metrics.json'
    path.unlink()
    if kind != 'missing':
        path.write_text('{"contexts": {}}' if kind == 'old' else '{')
    with pytest.raises(UserError, match=f'evaluate that run first, with `run_dir={folder}`') as caught:
        read_metrics(folder)
    assert '\n' not in str(caught.value)


def test_results_of_a_file_are_beside_it(metrics, tmp_path):
    folder = pathlib.Path(next(iter(metrics)))
    assert results_folder(folder, 'evaluation') == folder / 'evaluation'
    path = tmp_path / 'model.safetensors'
    path.write_bytes(b'')
    assert results_folder(path, 'exp2') == tmp_path / 'model-exp2'
    (folder / 'evaluation').rename(tmp_path / 'model-evaluation')
    assert read_metrics(path) == metrics[str(folder)]


def test_describe_metrics_shows_the_scores(metrics):
    found = next(iter(metrics.values()))
    text = describe_metrics(found, has_exact_log_prob=False)
    bits = found['bits_per_dimension']
    assert text.splitlines()[-1] == f'Bits per dimension: at most {bits:.{2 if bits >= 10 else 3}f}.'
    [row] = [line for line in text.splitlines() if line.startswith('|        4 | model, mean image ')]
    for name in ('mask_ssim', 'mask_cc', 'ssim', 'cc'):
        assert f' {found["contexts"]["4"]["mean_image"][name]:.3f} ' in row
    assert f'{found["num_subjects"]} {found["split"]} subjects' in text


def test_check_comparable_rejects_different_subjects_and_contexts(metrics):
    one, two = metrics
    with pytest.raises(UserError, match=r'`compare`: .* different subjects'):
        check_comparable({one: metrics[one], two: {**metrics[two], 'num_subjects': 3}})
    with pytest.raises(UserError, match=r'`compare`: .* no number of contexts'):
        check_comparable({one: metrics[one], two: {**metrics[two], 'contexts': {}}})
