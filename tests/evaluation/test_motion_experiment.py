"""The experiment with moving subjects, and its report."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno import data
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.evaluation import Provenance, name_completions, write_motion_report
from tfp_bruno.evaluation.motion_experiment import (
    COMPLETION,
    MEAN,
    NEIGHBOURS,
    UNMASKED,
    Condition,
    run_motion_experiment,
)
from tfp_bruno.evaluation.motion_report import draw_starts, format_motion
from tfp_bruno.evaluation.start_volumes import AVERAGE
from tfp_bruno.motion import RegistrationSettings

SHAPE = 20, 16, 16
DEFINITION = data.DatasetDefinition('balls', 96.0, 20, 1.0, {0: ()}, image_size=16)
SETTINGS = RegistrationSettings(search=0.0, candidates=1, least_area=300.0)


class Oracle:
    """Predicts its own volume whatever the contexts are."""

    name, definition = 'oracle', DEFINITION

    def __init__(self, stack, definition=DEFINITION):
        self.stack, self.definition = stack, definition

    def predict(self, context_images, context_slices, query_slices):
        return self.stack[None, query_slices]


def _balls(count):
    grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing='ij'), -1)
    inside = np.linalg.norm(grid * [4, 6, 6], axis=-1) < 30
    noise = [ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5) for seed in range(count)]
    return np.stack([np.where(inside, 0.5 + 0.15 * each / each.std(), 0).clip(0, 1) for each in noise]).astype('f4')


@pytest.fixture(scope='module')
def populations():
    """Six training and two test subjects; the second test subject shows nothing."""
    images = _balls(8)
    images[7] = 0
    frame = data.TrainingFrame(np.array([[-6.0, 0, 0, 45], [0, -6, 0, 45], [0, 0, 4, -38], [0, 0, 0, 1]]), 0.0, 4.0)
    names = tuple(f'sub-{number}' for number in range(8))
    whole = data.Population(images, names, ('train',) * 6 + ('test',) * 2, True, 'balls', frame)
    return whole.subset('train'), whole.subset('test')


@pytest.fixture(scope='module')
def found(populations):
    train, test = populations
    conditions = Condition(8.0, 0.0, 0), Condition(8.0, 5.0, 1)
    with collect_warnings() as warnings:
        result = run_motion_experiment(
            {COMPLETION: Oracle(test.images[0])}, train, test, 0, True, conditions, SETTINGS, jobs=1
        )
    return result, warnings


def test_experiment_scores_every_start_and_names_who_fails(found):
    result, warnings = found
    starts = [(row['translation'], row['rotation'], row['start'], row['cycle']) for row in result.rows]
    registered = [AVERAGE, MEAN, NEIGHBOURS, COMPLETION]
    expected = [(8.0, 0.0, name, 0) for name in (UNMASKED, *registered)]
    expected += [(8.0, 5.0, UNMASKED, 0), *((8.0, 5.0, name, cycle) for name in registered for cycle in (0, 1))]
    assert starts == expected
    assert {row['subject'] for row in result.rows} == {'sub-6'}
    assert len(warnings) == 1 and 'sub-7: is left out' in warnings[0]
    assert result.num_subjects == 2 and len(result.num_contexts) == 2
    assert all(1 <= count <= 4 for count in result.num_contexts)
    scores = {row['start']: row for row in result.rows if row['rotation'] == 0}
    assert scores[UNMASKED]['ssim'] < scores[AVERAGE]['ssim']
    assert scores[AVERAGE]['mask_ssim'] < 0.8
    assert list(result.example.volumes) == ['truth', UNMASKED, *registered[1:]]


def test_averages_are_those_over_subjects(found):
    result, _ = found
    first = [{**row, 'subject': 'a'} for row in result.rows]
    second = [{**row, 'subject': 'b', 'ssim': row['ssim'] + 0.1} for row in result.rows]
    averages = dataclasses.replace(result, rows=first + second).averages()
    assert len(averages) == len(result.rows)
    for own, row in zip(averages, result.rows, strict=True):
        assert own['ssim'] == pytest.approx(row['ssim'] + 0.05)
        assert (own['start'], own['cycle'], own['subjects']) == (row['start'], row['cycle'], 2)


def test_experiment_fails_if_every_subject_does(populations):
    train, test = populations
    empty = dataclasses.replace(test, images=test.images[1:], names=test.names[1:], splits=test.splits[1:])
    with pytest.raises(UserError, match='marks nothing'):
        run_motion_experiment({COMPLETION: Oracle(test.images[0])}, train, empty, 0, False, jobs=1)
    nobody = dataclasses.replace(train, images=train.images[:0], names=(), splits=())
    with pytest.raises(UserError, match='train_data_dir'):
        run_motion_experiment({COMPLETION: Oracle(test.images[0])}, nobody, test, 0, False, jobs=1)


def test_name_completions_refuses_other_datasets_and_runs_given_twice():
    model, other = Oracle(None), Oracle(None, dataclasses.replace(DEFINITION, name='cubes'))
    assert name_completions([model], ['a']) == {COMPLETION: model}
    assert list(name_completions([model, model], ['a', 'b'])) == ['completion, oracle, a', 'completion, oracle, b']
    with pytest.raises(UserError, match='b is of another dataset than a'):
        name_completions([model, other], ['a', 'b'])
    with pytest.raises(UserError, match='each run once'):
        name_completions([model, model], ['a', 'x/../a'])


def test_report_holds_the_scores(found, tmp_path):
    result, _ = found
    provenance = Provenance('balls', 'test', 'balls', True, 'RUN', 'balls', '1')
    paths = write_motion_report(tmp_path, result, provenance)
    assert [path.name for path in paths] == ['svr.json', 'svr.tsv', 'svr.md', 'starts.png']
    averages = json.loads(paths[0].read_text())['averages']
    with paths[1].open() as file:
        table = list(csv.DictReader(file, delimiter='\t'))
    assert len(table) == len(result.rows)
    for row, cells in zip(result.rows, table, strict=True):
        assert cells['subject'] == 'sub-6' and cells['start'] == row['start']
        assert float(cells['mask_psnr']) == pytest.approx(row['mask_psnr'], rel=1e-5)
    assert table[0]['median_mm'] == 'n/a'
    text = paths[2].read_text()
    assert text == format_motion(result, provenance)
    assert '## Up to 8 mm and 5 degrees, 1 of 2 subjects' in text and '0.297' in text
    best = next(row for row in averages if row['start'] == COMPLETION and row['cycle'] == 1)
    assert f'{best["median_mm"]:.3f}' in text
    assert paths[3].read_bytes().startswith(b'\x89PNG')


def test_figure_shows_three_planes_of_the_truth(found):
    example = found[0].example
    figure = draw_starts(example, 'balls')
    images = [axes.images[0].get_array() for axes in figure.axes]
    assert len(images) == 3 * len(example.volumes)
    truth, columns = example.volumes['truth'], len(example.volumes)
    np.testing.assert_array_equal(images[0], truth[:, :, 10].T)
    np.testing.assert_array_equal(images[columns], truth[:, 8].T)
    np.testing.assert_array_equal(images[2 * columns], truth[8].T)
