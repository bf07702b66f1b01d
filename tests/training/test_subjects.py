"""Registered subjects of a training: their volumes, sequences, and the cache of their maps."""

import dataclasses
import logging
import pathlib

import numpy as np
import pytest

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Population, get_definition
from tfp_bruno.models import DisplacedPoses
from tfp_bruno.registration import MapFinder, Registration, register_subjects
from tfp_bruno.runs import Run, load, write_run
from tfp_bruno.runs.slice_places import slice_poses
from tfp_bruno.training import AugmentationSettings, ObjectiveSettings, subjects, train_run
from tfp_bruno.training.sequences import make_sequences
from tfp_bruno.training.subjects import MappedSubjects, StackSubjects, make_subjects
from tfp_bruno.training.tasks import make_task

CONTROL = 3
DEFINITION = dataclasses.replace(
    get_definition('fetal'), num_slices=12, image_size=16, context_slices={0: (), 4: (1, 4, 7, 10)}
)
VOXEL_SIZE = (DEFINITION.slice_spacing, DEFINITION.pixel_spacing, DEFINITION.pixel_spacing)


@pytest.fixture
def make_run(tmp_path, make_settings):
    """Writes the settings of a run of a model with places."""

    def make(name='run', pose=None, **training):
        model, settings = make_settings(**{'context_sets': 6, **training})
        model = (
            dataclasses.replace(model, pose=DisplacedPoses(CONTROL), latents='frequencies') if pose is None else model
        )
        info = RunInfo(None, 'balls', is_phantom=True, phantom_subjects=16, seed=0, preset='cpu')
        run = Run(tmp_path / name, DEFINITION, model, settings, info)
        write_run(run)
        return run

    return make


@pytest.fixture
def images(discs):
    return discs[:5]


@pytest.fixture
def count_calls(monkeypatch):
    """Counts the calls of the functions that find maps."""
    calls = []

    def counted(name, function):
        def call(*arguments):
            calls.append(name)
            return function(*arguments)

        return call

    for name in ('register_subjects', 'find_maps'):
        monkeypatch.setattr(subjects, name, counted(name, getattr(subjects, name)))
    # In this process: starting others takes seconds.
    monkeypatch.setattr(subjects.os, 'cpu_count', lambda: 1)
    return calls


def batches_of(sequences, count=3):
    return [(x.numpy(), poses.numpy()) for x, poses in sequences.take(count)]


def assert_equal_batches(one, other):
    for ours, theirs in zip(one, other, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_subjects_with_numbered_slices_are_those_of_make_sequences(make_run, images):
    augmentation = AugmentationSettings(probability=0.5)
    run = make_run(pose='one_hot', augmentation=augmentation, objective=ObjectiveSettings(prior_every=2))
    assert not run.has_places
    found = make_subjects(run, images, None)
    assert isinstance(found, StackSubjects)
    np.testing.assert_array_equal(found.poses, np.eye(12))
    expected = make_sequences(images, 5, 4, VOXEL_SIZE, augmentation, 0, plain_every=2, first_step=3)
    assert_equal_batches(batches_of(found.sequences(3)), batches_of(expected))
    expected = make_sequences(images[:2], 5, 4, VOXEL_SIZE, AugmentationSettings(), 12345)
    assert_equal_batches(batches_of(found.held_out(images[:2])), batches_of(expected))
    volumes, numbers = found.volumes()
    assert volumes.shape == (5, 12, 16, 16, 1)
    np.testing.assert_array_equal(numbers, np.arange(5))


@pytest.mark.slow
def test_volumes_are_the_registered_subjects(make_run, images, count_calls):
    run = make_run()
    found = make_subjects(run, images, None)
    assert isinstance(found, MappedSubjects)
    maps = register_subjects(images, VOXEL_SIZE)
    expected = Registration.of_maps(images, VOXEL_SIZE, maps).volumes
    volumes, numbers = found.volumes()
    # Noise within a grey level.
    noise = volumes[..., 0] * 256 - expected * 255
    assert noise.min() > -1e-3
    assert noise.max() < 1 + 1e-3
    np.testing.assert_array_equal(numbers, np.arange(5))
    # Their slices are the planes of the canonical volume.
    finder = MapFinder.load(run.registration)
    poses = slice_poses(finder.space, finder.space.identity, np.arange(12), CONTROL)
    np.testing.assert_allclose(found.poses, poses, atol=1e-5)
    assert count_calls == ['register_subjects']


@pytest.mark.slow
def test_sequences_have_the_contexts_of_the_schedule(make_run, images, count_calls):
    run = make_run(objective=ObjectiveSettings(prior_every=2, max_contexts=2))
    found = make_subjects(run, images, None)
    finder, task = MapFinder.load(run.registration), make_task(run.training)
    batches = batches_of(found.sequences(0), 4)
    assert batches[0][0].shape == (4, 5, 16, 16, 1)
    assert batches[0][1].shape == (4, 5, 12 + 3 * CONTROL**2)
    assert count_calls == ['register_subjects', 'find_maps']
    brightness = images.max((1, 2, 3))
    for step, (x, poses) in enumerate(batches):
        depths = poses[..., 3]
        for sequence, depth, pose in zip(x, depths, poses, strict=True):
            if not task.num_contexts_at(step):
                # Planes of the canonical volume.
                np.testing.assert_allclose(depth, np.rint(depth), atol=1e-4)
                expected = slice_poses(finder.space, finder.space.identity, np.rint(depth).astype(int), CONTROL)
                np.testing.assert_allclose(pose, expected, atol=1e-4)
            assert sequence.max() <= brightness.max() + 1 / 256
    assert_equal_batches(batches_of(found.sequences(2), 2), batches[2:])


@pytest.mark.slow
def test_sequences_in_any_plane_have_rigid_poses(make_run, images):
    found = make_subjects(make_run(poses='rigid'), images, None)
    for x, poses in batches_of(found.sequences(0)):
        assert x.max() > 0.1
        normals = poses[..., 2:12:4].reshape(-1, 3)
        assert np.linalg.matrix_rank(normals, tol=0.1) == 3
    assert np.isfinite(next(iter(found.held_out(images[:2])))[1]).all()


@pytest.mark.slow
def test_held_out_sequences_have_four_contexts_of_other_subjects(make_run, discs, images, count_calls):
    run = make_run()
    found, others = make_subjects(run, images, None), discs[12:14]
    finder = MapFinder.load(run.registration)
    for x, poses in batches_of(found.held_out(others), 2):
        for sequence, pose in zip(x[..., 0], poses, strict=True):
            clean = (sequence * 256 - 0.5) / 255
            distances = np.square(clean[:, None, None] - others).mean((-2, -1))
            subject = distances.min(-1).sum(0).argmin()
            slices = distances[:, subject].argmin(-1)
            subject_map = finder.find(others[subject][slices[:4]], slices[:4]).subject
            np.testing.assert_allclose(pose, slice_poses(finder.space, subject_map, slices, CONTROL), atol=1e-5)


@pytest.mark.slow
def test_maps_are_found_once_with_a_cache(make_run, images, tmp_path, count_calls):
    first = make_subjects(make_run('one'), images, tmp_path / 'cache')
    batches = batches_of(first.sequences(0))
    assert count_calls == ['register_subjects', 'find_maps']
    again = make_subjects(make_run('two'), images, tmp_path / 'cache')
    assert_equal_batches(batches_of(again.sequences(0)), batches)
    np.testing.assert_array_equal(again.volumes()[0], first.volumes()[0])
    assert count_calls == ['register_subjects', 'find_maps']
    # Of other subjects, or from other contexts, they are found anew.
    make_subjects(make_run('three'), images[:4], tmp_path / 'cache')
    assert count_calls == ['register_subjects', 'find_maps', 'register_subjects']
    make_subjects(make_run('four', seed=1), images, tmp_path / 'cache').sequences(0)
    assert count_calls[3:] == ['find_maps']


@pytest.mark.slow
def test_cached_maps_of_contexts_depend_on_the_registered_subjects(make_run, discs, images, tmp_path, count_calls):
    for name, train in (('one', images), ('two', discs[6:11])):
        make_subjects(make_run(name), train, tmp_path / 'cache').held_out(discs[12:14])
    assert count_calls == ['register_subjects', 'find_maps'] * 2


@pytest.mark.parametrize(
    'damage',
    ['empty', *(pytest.param(each, marks=pytest.mark.slow) for each in ('cut short', 'garbage', 'other arrays'))],
)
def test_damaged_maps_are_found_again(make_run, images, tmp_path, count_calls, damage):
    first = make_subjects(make_run('one'), images, tmp_path / 'cache')
    [path] = (tmp_path / 'cache' / 'maps').iterdir()
    good = path.read_bytes()
    if damage == 'other arrays':
        np.savez(path, frames=np.zeros(3))
    else:
        path.write_bytes({'empty': b'', 'cut short': good[:-50], 'garbage': b'PK garbage'}[damage])
    again = make_subjects(make_run('two'), images, tmp_path / 'cache')
    np.testing.assert_array_equal(again.volumes()[0], first.volumes()[0])
    assert count_calls == ['register_subjects'] * 2
    # And written again.
    make_subjects(make_run('three'), images, tmp_path / 'cache')
    assert len(count_calls) == 2


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_a_warning(make_run, images, tmp_path, count_calls, caplog):
    (tmp_path / 'file').write_text('mine')
    with caplog.at_level(logging.WARNING, logger='absl'):
        found = make_subjects(make_run(), images, tmp_path / 'file')
    assert 'not cached' in caplog.text
    assert found.volumes()[0].shape == (5, 12, 16, 16, 1)
    assert (tmp_path / 'file').read_text() == 'mine'


@pytest.mark.slow
def test_a_resumed_run_keeps_its_finder(make_run, discs, images, count_calls):
    run = make_run()
    make_subjects(run, images, None)
    written = run.registration.read_bytes()
    make_subjects(run, discs[5:10], None)
    assert run.registration.read_bytes() == written


@pytest.mark.slow
def test_misfits_of_the_contexts_are_written_once(make_run, images, count_calls):
    run = make_run()
    subjects = make_subjects(run, images, None)
    assert MapFinder.load(run.registration).misfits is None
    subjects.sequences(0)
    misfits = MapFinder.load(run.registration).misfits
    assert len(misfits) == 21
    assert np.all(np.diff(misfits) >= 0)
    assert misfits[0] > 0
    written = run.registration.read_bytes()
    make_subjects(run, images, None).sequences(0)
    assert run.registration.read_bytes() == written


@pytest.mark.slow
def test_steps_without_any_contexts_need_no_sets(make_run, images, tmp_path, count_calls):
    run = make_run(objective=ObjectiveSettings(prior_every=1))
    [(x, poses)] = batches_of(make_subjects(run, images, tmp_path / 'cache').sequences(0), 1)
    assert x.shape == (4, 5, 16, 16, 1)
    assert np.isfinite(poses).all()


@pytest.mark.slow
def test_a_trained_run_of_places_loads(make_run, discs, tmp_path, count_calls):
    splits = ('train',) * 10 + ('validation',) * 2
    population = Population(discs[:12], tuple(f'sub-{number:02d}' for number in range(12)), splits, True, 'balls')
    run = make_run(steps=3, evaluate_every=2, objective=ObjectiveSettings(joint=0.5, conditional=1.0, prior_every=2))
    train_run(run, population, cache_dir=tmp_path / 'cache')
    model = load(run.folder)
    assert type(model).__name__ == 'MappedModel'
    predicted = model.predict(discs[12:13, [2, 5, 8]], [2, 5, 8], [4, 6])
    assert predicted.shape == (1, 2, 16, 16)
    assert np.abs(predicted[0] - discs[12, [4, 6]]).mean() < 0.1
    assert pathlib.Path(run.registration).exists()
    # The page shows the training subjects alone.
    page = run.registration_report.read_text()
    assert all(f'<td>{name}</td>' in page for name in population.names[:10])
    assert '<td>sub-10</td>' not in page
