"""A run on disk: the files that training writes, and its errors."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Population, get_definition
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.runs import Run, load, read_run, write_run
from tfp_bruno.runs.loadings import read_loadings
from tfp_bruno.runs.quantized_loadings import dequantize
from tfp_bruno.runs.weights import fingerprint
from tfp_bruno.training import (
    AugmentationSettings,
    ObjectiveSettings,
    Trainer,
    TrainingStoppedError,
    train_run,
)
from tfp_bruno.training.checkpoints import Checkpoints
from tfp_bruno.training.run import HeldOut


@pytest.fixture(scope='module')
def population(discs):
    splits = ('train',) * 10 + ('validation',) * 2 + ('test',) * 4
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
def test_train_run_does_not_read_test_subjects(trained, make_run, population, tmp_path):
    images = population.images.copy()
    images[12:] = np.nan
    run = make_run(tmp_path)
    train_run(run, dataclasses.replace(population, images=images))
    ours, theirs = curve_of(run), curve_of(trained)[: len(curve_of(run))]
    assert [point | {'seconds': 0} for point in ours] == [point | {'seconds': 0} for point in theirs]


@pytest.mark.slow
def test_train_run_without_validation_subjects_measures_no_held_out_loss(make_run, population, tmp_path, caplog):
    run = make_run(tmp_path)
    splits = tuple('train' if split == 'validation' else split for split in population.splits)
    with caplog.at_level('INFO', logger='absl'):
        train_run(run, dataclasses.replace(population, splits=splits))
    assert caplog.text.count('There are no validation subjects: the held-out loss is not measured.') == 1
    assert {'train/loss', 'step', 'seconds'} <= set(curve_of(run)[-1])
    assert not [name for name in curve_of(run)[-1] if name.startswith('held_out')]


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


def states_of(run):
    return sorted(int(path.stem.partition('-')[2]) for path in run.checkpoints.glob('*.index'))


def weights_of(run):
    reader = tf.train.load_checkpoint(str(run.checkpoints / f'ckpt-{states_of(run)[-1]}'))
    names = [name for name in reader.get_variable_to_shape_map() if 'seconds' not in name and 'OBJECT' not in name]
    return {name: reader.get_tensor(name) for name in names}


def resumed(run, **changes):
    longer = dataclasses.replace(run, training=dataclasses.replace(run.training, **changes))
    write_run(longer)
    return longer


@contextlib.contextmanager
def signal_after(monkeypatch, last):
    """Sends SIGTERM to the training in the block after a step."""
    train = Trainer.train

    def interrupt(trainer, sequences):
        for step, parts in train(trainer, sequences):
            if step == last:
                os.kill(os.getpid(), signal.SIGTERM)
            yield step, parts

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, 'train', interrupt)
        yield


@pytest.mark.slow
@pytest.mark.parametrize('process', ['factor', 'exchangeable'])
def test_a_resumed_training_is_that_of_an_uninterrupted_one(make_run, population, tmp_path, monkeypatch, process):
    augmentation = AugmentationSettings(probability=0.5)
    objective = ObjectiveSettings(joint=0.5, conditional=1.0, prior_every=3)
    settings = {'process': process, 'augmentation': augmentation, 'objective': objective, 'evaluate_every': 4}
    whole = make_run(tmp_path / 'whole', steps=7, **settings)
    train_run(whole, population)
    parts = make_run(tmp_path / 'parts', steps=7, **settings)
    with pytest.raises(TrainingStoppedError), signal_after(monkeypatch, 4):
        train_run(parts, population)
    train_run(parts, population)
    ours, theirs = weights_of(parts), weights_of(whole)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    assert [point['step'] for point in curve_of(parts)] == [4, 7]


def shapes_of(prefix):
    return list(tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map().values())


@pytest.mark.slow
def test_loadings_are_on_disk_once(trained):
    loadings = load(trained.folder).bruno.distribution.loadings
    shape = loadings.shape.as_list()
    assert float(tf.reduce_max(tf.abs(loadings))) > 0
    for prefix in (trained.weights, trained.checkpoints / f'ckpt-{states_of(trained)[-1]}'):
        assert shape not in shapes_of(prefix)
    np.testing.assert_array_equal(loadings, dequantize(read_loadings(trained.loadings), shape))


@pytest.mark.slow
def test_a_training_has_the_loadings_of_its_file(make_run, population, tmp_path, monkeypatch):
    run, found = make_run(tmp_path, steps=1), []
    train = Trainer.train

    def look(trainer, sequences):
        found.append(trainer.model.distribution.loadings.numpy())
        return train(trainer, sequences)

    monkeypatch.setattr(Trainer, 'train', look)
    train_run(run, population)
    train_run(resumed(run, steps=2), population)
    expected = dequantize(read_loadings(run.loadings), found[0].shape)
    for loadings in found:
        np.testing.assert_array_equal(loadings, expected)


@pytest.mark.slow
def test_resume_of_an_earlier_run_keeps_its_loadings_in_the_states(make_run, population, tmp_path, monkeypatch):
    run = make_run(tmp_path)
    with monkeypatch.context() as patch:
        # As versions before did: the loadings are not rounded, and every state has them.
        patch.setattr('tfp_bruno.training.run.round_loadings', lambda model, path: None)
        patch.setattr('tfp_bruno.training.trainer.other_variables', lambda model: list(model.variables))
        train_run(run, population)
    before = load(run.folder).bruno.distribution.loadings.numpy()
    train_run(resumed(run, steps=4), population)
    assert not run.loadings.exists()
    np.testing.assert_array_equal(load(run.folder).bruno.distribution.loadings, before)
    assert list(before.shape) in shapes_of(run.checkpoints / 'ckpt-4')


@pytest.mark.slow
def test_resume_after_a_kill_between_curve_and_state(make_run, population, tmp_path):
    run = make_run(tmp_path)
    train_run(run, population)
    for path in run.checkpoints.glob('ckpt-3.*'):
        path.unlink()
    train_run(run, population)
    assert [point['step'] for point in curve_of(run)] == [2, 3]


@pytest.mark.slow
@pytest.mark.parametrize('damage', ['list', 'newest'])
def test_resume_with_damaged_states(make_run, population, tmp_path, damage):
    run = make_run(tmp_path)
    train_run(run, population)
    if damage == 'list':
        (run.checkpoints / 'checkpoint').write_text('garbage')
    else:
        [path] = run.checkpoints.glob('ckpt-3.data*')
        path.write_bytes(path.read_bytes()[:100])
    with collect_warnings() as warnings:
        train_run(resumed(run, steps=4), population)
    assert [point['step'] for point in curve_of(run)][-1] == 4
    assert len(warnings) == (damage == 'newest')


@pytest.mark.slow
def test_resume_without_states_never_starts_again(make_run, population, tmp_path):
    run = make_run(tmp_path)
    train_run(run, population)
    before = curve_of(run)
    for path in run.checkpoints.iterdir():
        path.unlink()
    with pytest.raises(UserError) as caught:
        train_run(resumed(run, steps=4), population)
    assert_one_line(caught, str(run.checkpoints), 'learning curve to step 3')
    assert curve_of(run) == before


@pytest.mark.slow
def test_weights_that_are_not_finite_are_not_saved(make_run, population, tmp_path):
    run = make_run(tmp_path, steps=2, evaluate_every=2)
    train_run(run, population)
    good = fingerprint(run.weights)
    with pytest.raises(UserError) as caught:
        train_run(resumed(run, steps=3, learning_rate=1e30), population)
    assert_one_line(caught, 'not finite', 'that of step 2 is kept', 'learning_rate')
    assert fingerprint(run.weights) == good
    assert states_of(run) == [2]
    json.loads(run.learning_curve.read_text().splitlines()[-1], parse_constant=pytest.fail)


@pytest.mark.slow
def test_rollback_halves_the_learning_rate(make_run, population, tmp_path):
    run = make_run(tmp_path, steps=2, evaluate_every=1)
    train_run(run, population)
    with collect_warnings() as warnings, pytest.raises(UserError, match='not finite'):
        train_run(resumed(run, steps=5, learning_rate=1e30), population, on_nan='rollback')
    assert 'back to step 2 with 0.5 of the learning rate' in warnings[0]
    assert 'back to step 2 with 0.25 of the learning rate' in warnings[1]


@pytest.mark.slow
def test_a_signal_saves_the_state_and_ends_the_training(make_run, population, tmp_path, monkeypatch):
    run = make_run(tmp_path, steps=50, evaluate_every=100)
    stopped = pytest.raises(TrainingStoppedError, match='SIGTERM: stopped after step 2')
    with stopped as caught, signal_after(monkeypatch, 2):
        train_run(run, population)
    assert caught.value.signal_number == signal.SIGTERM
    assert states_of(run) == [2]
    assert [point['step'] for point in curve_of(run)] == [2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('of_start', 'written'), [([], 'model-3'), ([2.5], 'model-2'), ([0.5], 'model-1')], ids=['last', 'step 2', 'start']
)
def test_keep_best_hands_on_the_weights_with_the_least_held_out_loss(
    make_run, population, tmp_path, monkeypatch, of_start, written
):
    losses, keep_best = iter([*of_start, 3.0, 1.0, 2.0]), bool(of_start)
    monkeypatch.setattr(HeldOut, 'measure', lambda *_: {'loss': next(losses)})
    run = make_run(tmp_path, evaluate_every=1, keep_best=keep_best)
    train_run(run, population)
    assert [point['held_out/loss'] for point in curve_of(run)] == [*of_start, 3.0, 1.0, 2.0]
    assert [point['step'] for point in curve_of(run)] == [0, 1, 2, 3][-len(curve_of(run)) :]
    assert run.weights.name == written
    # The state to resume from is always the last.
    assert states_of(run) == [2, 3]


@pytest.mark.slow
def test_residual_is_fitted_to_the_validation_subjects_at_the_end(make_run, population, tmp_path):
    plain, fitted = make_run(tmp_path / 'plain'), make_run(tmp_path / 'fitted', fits_residual=True)
    for run in (plain, fitted):
        train_run(run, population)
    before, after = (load(run.folder).bruno.distribution.residual_variance.numpy() for run in (plain, fitted))
    scale = json.loads(fitted.residual_scale.read_text())['scale']
    assert abs(np.log(scale)) > 0.05
    np.testing.assert_allclose(after, scale * before, rtol=1e-4)
    # A run that is done is left as it is; one that goes on is fitted again.
    weights = fitted.weights
    train_run(read_run(fitted.folder), population)
    assert fitted.weights == weights
    longer = dataclasses.replace(fitted, training=dataclasses.replace(fitted.training, steps=4))
    write_run(longer)
    train_run(longer, population)
    assert fitted.weights != weights


@pytest.mark.slow
def test_a_folder_that_is_removed_or_full_is_an_error_of_one_line(make_run, population, tmp_path, monkeypatch):
    run = make_run(tmp_path / 'removed', evaluate_every=1)
    train = Trainer.train

    def remove(trainer, sequences):
        for step, parts in train(trainer, sequences):
            if step == 2:
                shutil.rmtree(run.folder)
            yield step, parts

    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        patch.setattr(Trainer, 'train', remove)
        train_run(run, population)
    assert_one_line(caught, str(run.folder), 'was removed during the training')
    assert not run.folder.exists()
    run = make_run(tmp_path / 'full')

    def fail(self, step, best):
        raise tf.errors.ResourceExhaustedError(None, None, '{{node x}} /f; No space left on device [Op:SaveV2]\nmore')

    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        patch.setattr(Checkpoints, 'save', fail)
        train_run(run, population)
    assert_one_line(caught, str(run.folder), 'cannot be written (No space left on device);', '`resume`')
    # Although the curve has a point already, and there is no state.
    train_run(run, population)
    assert [point['step'] for point in curve_of(run)] == [2, 3]
