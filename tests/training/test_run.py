"""A run on disk: the files that training writes, and its errors."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Population, get_definition
from tfp_bruno.errors import UserError
from tfp_bruno.runs import Run, load, read_run, write_run
from tfp_bruno.training import train_run
from tfp_bruno.training.run import choose_strategy


@pytest.fixture(scope='module')
def population(discs):
    splits = ('train',) * 12 + ('test',) * 4
    return Population(discs, tuple(f'sub-{number:02d}' for number in range(16)), splits, True, 'balls in boxes')


@pytest.fixture(scope='module')
def make_run(make_settings):
    """Writes the settings of a run into a folder."""

    def make(folder, **training):
        model, settings = make_settings(**{'steps': 3, 'evaluate_every': 2, **training})
        definition = dataclasses.replace(
            get_definition('fetal'), num_slices=12, image_size=16, context_slices={0: (), 4: (1, 4, 7, 10)}
        )
        info = RunInfo(None, 'balls', is_phantom=True, phantom_subjects=16, seed=0, preset='cpu')
        run = Run(folder, definition, model, settings, info)
        write_run(run)
        return run

    return make


@pytest.fixture(scope='module')
def trained(tmp_path_factory, make_run, population):
    run = make_run(tmp_path_factory.mktemp('run'))
    train_run(run, population)
    return run


def curve_of(run):
    lines = (run.folder / 'learning_curve.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_train_run_writes_its_learning_curve(trained):
    points = curve_of(trained)
    assert [point['step'] for point in points][-2:] == [2, 3]
    for name in ('train/loss', 'train/joint', 'held_out/joint', 'held_out/conditional'):
        assert np.isfinite(points[-1][name])
    assert points[-1]['seconds'] > points[-2]['seconds'] > 0
    assert list(trained.logs.glob('events.out.tfevents.*'))


@pytest.mark.slow
def test_train_run_writes_weights_that_load(trained, population):
    model = load(trained.folder)
    assert model.predict(population.images[:1, [4]], [4], [2, 9]).shape == (1, 2, 16, 16)


@pytest.mark.slow
def test_train_run_continues_from_the_checkpoint(trained, population):
    before = curve_of(trained)
    longer = dataclasses.replace(trained, training=dataclasses.replace(trained.training, steps=5))
    write_run(longer)
    train_run(read_run(trained.folder), population)
    points = curve_of(trained)
    assert points[: len(before)] == before
    assert [point['step'] for point in points[len(before) :]] == [4, 5]
    assert points[-1]['seconds'] > before[-1]['seconds']
    # A run that is done is left as it is.
    train_run(read_run(trained.folder), population)
    assert curve_of(trained) == points


def assert_one_line(error, *words):
    assert '\n' not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.slow
def test_infinite_loss_is_an_error(make_run, population, tmp_path):
    run = make_run(tmp_path, learning_rate=1e30, warmup_steps=0, evaluate_every=3)
    with pytest.raises(UserError) as caught:
        train_run(run, population)
    assert_one_line(caught, str(tmp_path), 'the loss is not finite', 'learning_rate')
    assert not list(tmp_path.rglob('ckpt*'))
    assert not run.weights.parent.exists()


def test_damaged_checkpoint_is_named(make_run, population, tmp_path):
    run = make_run(tmp_path)
    run.checkpoints.mkdir()
    tf.train.Checkpoint(step=tf.Variable(0)).save(str(run.checkpoints / 'ckpt'))
    for part in run.checkpoints.glob('ckpt-1.*'):
        part.write_bytes(part.read_bytes()[:3])
    with pytest.raises(UserError) as caught:
        train_run(run, population)
    assert_one_line(caught, 'ckpt-1', 'cannot be restored')


def test_one_device_has_the_default_strategy():
    for devices in ('auto', 'one', 'all'):
        assert choose_strategy(devices).num_replicas_in_sync == 1
