"""A model of a canonical volume in NumPy gives what its `ConditionalBruno` gives at the places of the found map."""

import dataclasses
import inspect

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from scipy import ndimage

from tfp_bruno import contracts
from tfp_bruno.data import write_split
from tfp_bruno.data.encoding import dequantise, from_level_middle, to_level_middle
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.models import DisplacedPoses, initialize_model
from tfp_bruno.models.build import build_model
from tfp_bruno.registration import MapFinder, Registration, register_subjects
from tfp_bruno.runs import TrainedModel, export_model, load, make_scorer, prior_modes, write_run
from tfp_bruno.runs.mapped_model import MappedModel, _draw_maps
from tfp_bruno.runs.slice_places import slice_poses

NUM_SLICES, SIZE, CONTROL = 12, 16, 3
CONTEXTS, QUERIES = [7, 3, 5], [2, 6, 9]


def make_stacks(count, seed=0):
    """Smooth balls `[count, 12, 16, 16]` of random size, place and brightness."""
    rng = np.random.default_rng(seed)
    axes = np.indices((NUM_SLICES, SIZE, SIZE))
    stacks = []
    for _ in range(count):
        centre, radius = rng.normal([5.5, 7.5, 7.5], [0.3, 0.7, 0.7]), rng.uniform([3, 4, 4], [4, 5.5, 5.5])
        distance = np.sqrt(sum(np.square((a - c) / r) for a, c, r in zip(axes, centre, radius, strict=True)))
        stacks.append(
            rng.uniform(0.5, 0.8) * (1 + 0.2 * np.cos(axes[1] - centre[1])) / (1 + np.exp(6 * (distance - 1)))
        )
    return np.stack(stacks).astype(np.float32)


@pytest.fixture(scope='module')
def run(make_run):
    """A run whose model is fitted to registered subjects in closed form."""
    run = make_run('factor')
    run = dataclasses.replace(
        run, model=dataclasses.replace(run.model, pose=DisplacedPoses(CONTROL), latents='frequencies', factors=3)
    )
    write_run(run)
    stacks, voxel_size = make_stacks(8), (1.5, 1.0, 1.0)
    registration = Registration.of_maps(stacks, voxel_size, register_subjects(stacks, voxel_size))
    finder = MapFinder.fit(registration)
    np.savez(run.registration, **finder.to_arrays())
    model = build_model(run.model, run.training.sequence_length, run.training.seed)
    noisy = np.clip(to_level_middle(ndimage.gaussian_filter(registration.volumes, (0, 1, 1, 1))), 0.01, 0.99)
    noisy += np.random.default_rng(0).normal(0, 0.003, noisy.shape)
    poses = slice_poses(finder.space, finder.space.identity, np.arange(NUM_SLICES), CONTROL)
    initialize_model(model, noisy[..., None].astype(np.float32), poses)
    tf.train.Checkpoint(variables=list(model.variables)).write(str(run.weights))
    return run


@pytest.fixture(scope='module')
def model(run):
    return load(run.folder)


@pytest.fixture(scope='module')
def stacks():
    return make_stacks(3, seed=9)


def test_an_exported_model_finds_the_same_maps(model, run, stacks, tmp_path):
    write_split(run.split_file, {'a': 'train', 'b': 'test'})
    finder = dataclasses.replace(MapFinder.load(run.registration), misfits=np.linspace(0.1, 2.0, 5))
    finder.save(run.registration)
    path = tmp_path / 'model.safetensors'
    export_model(run.folder, path)
    found = load(path)
    assert isinstance(found, MappedModel)
    for name, values in finder.to_arrays(with_misfits=True).items():
        np.testing.assert_array_equal(found.finder.to_arrays(with_misfits=True)[name], values, err_msg=name)
    images = stacks[0, CONTEXTS]
    ours, theirs = (each.find_map(images, CONTEXTS).subject for each in (found, model))
    np.testing.assert_array_equal(ours.coefficients, theirs.coefficients)
    # The run holds loadings that are not rounded.
    volume, expected = (each.bruno.distribution.loadings.volume for each in (found, model))
    np.testing.assert_allclose(volume, expected, rtol=0, atol=0.01)


def places_by_hand(model, images, slices, *others):
    """Poses of slices under the map that is found from the first ones."""
    subject = model.finder.find(images, np.array(slices)).subject
    return [slice_poses(model.finder.space, subject, np.array(each, int), CONTROL) for each in (slices, *others)]


def test_load_returns_a_mapped_model(model, run):
    assert isinstance(model, MappedModel)
    assert model.control_size == CONTROL
    assert model.sampling == run.model.sampling
    assert run.has_places


def test_subject_poses_are_places_of_the_found_map(model, stacks):
    images = stacks[0, CONTEXTS]
    found = model.subject_poses(images, CONTEXTS, QUERIES)
    for ours, theirs in zip(found, places_by_hand(model, images, CONTEXTS, QUERIES), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_predict_is_the_mean_image_of_the_posterior_at_the_places(model, stacks):
    found = model.predict(stacks[:, CONTEXTS], CONTEXTS, QUERIES)
    assert (found.shape, found.dtype) == ((3, 3, SIZE, SIZE), np.float32)
    for stack, ours in zip(stacks, found, strict=True):
        contexts, queries = places_by_hand(model, stack[CONTEXTS], CONTEXTS, QUERIES)
        posterior = model.bruno.posterior(to_level_middle(stack[CONTEXTS])[..., None], contexts, len(QUERIES))
        expected = from_level_middle(posterior.mean_image(queries).numpy()[..., 0])
        np.testing.assert_allclose(ours, np.clip(expected, 0, 1), atol=1e-3)


@pytest.mark.slow
def test_predict_without_contexts_is_at_the_identity(model, stacks):
    prior = model.predict(stacks[:2, []], [], QUERIES)
    np.testing.assert_array_equal(prior[0], prior[1])
    poses = slice_poses(model.finder.space, model.finder.space.identity, np.array(QUERIES), CONTROL)
    posterior = model.bruno.posterior(np.zeros((0, SIZE, SIZE, 1), np.float32), poses[:0], len(QUERIES))
    expected = from_level_middle(posterior.mean_image(poses).numpy()[..., 0])
    np.testing.assert_allclose(prior[0], np.clip(expected, 0, 1), atol=1e-4)


def test_contexts_improve_the_prediction(model, stacks):
    errors = [
        np.abs(model.predict(stacks[:, contexts], contexts, QUERIES) - stacks[:, QUERIES]).mean()
        for contexts in ([], CONTEXTS)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_predict_does_not_depend_on_the_order_of_contexts(model, stacks):
    there, back = (model.predict(stacks[:1, each], each, QUERIES) for each in (CONTEXTS, CONTEXTS[::-1]))
    np.testing.assert_allclose(there, back, atol=5e-3)


@pytest.mark.slow
def test_samples_have_their_shape_and_seed(model, stacks):
    def draw(seed, count=3):
        return model.sample(stacks[:2, CONTEXTS], CONTEXTS, QUERIES, count, seed)

    samples = draw(5)
    assert (samples.shape, samples.dtype) == ((3, 2, 3, SIZE, SIZE), np.float32)
    assert (samples.min(), samples.max()) >= (0.0, 0.0)
    assert samples.max() <= 1.0
    np.testing.assert_array_equal(samples, draw(5))
    assert np.abs(samples - draw(6)).mean() > 1e-4
    assert np.abs(samples[0] - samples[1]).mean() > 1e-4
    # More samples than maps: some share a map.
    assert draw(5, 12).shape == (12, 2, 3, SIZE, SIZE)


@pytest.mark.slow
def test_samples_lie_about_the_prediction(model, stacks):
    samples = model.sample(stacks[:1, CONTEXTS], CONTEXTS, QUERIES, 20, 1)
    mean = model.predict(stacks[:1, CONTEXTS], CONTEXTS, QUERIES)
    assert np.abs(samples.mean(0) - mean).mean() < np.abs(samples - mean).mean()


@pytest.mark.slow
def test_samples_at_temperature_zero_are_the_prediction(model, stacks):
    cold = model.with_temperature(0.0)
    assert isinstance(cold, MappedModel)
    assert cold.temperature == 0.0
    samples = cold.sample(stacks[:1, CONTEXTS], CONTEXTS, QUERIES, 2, 1)
    expected = np.stack([model.predict(stacks[:1, CONTEXTS], CONTEXTS, QUERIES)] * 2)
    np.testing.assert_allclose(samples, expected, atol=1e-3)


def test_drawn_maps_have_the_posterior_covariance(model, stacks):
    found = model.find_map(stacks[0, CONTEXTS], CONTEXTS)
    maps = _draw_maps(found, 4000, 0.5, np.random.default_rng(0))
    mode = found.subject
    drawn = np.stack(
        [
            np.concatenate(
                [
                    (each.coefficients - mode.coefficients).ravel(),
                    np.log(each.frame.size / mode.frame.size),
                    each.frame.place - mode.frame.place,
                ]
            )
            for each in maps
        ]
    )
    deviations = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(drawn.std(0), 0.5 * deviations, rtol=0.06)
    standard = drawn.mean(0) / (0.5 * deviations)
    assert np.abs(standard).max() < 4.5 / np.sqrt(4000)
    direction = np.linalg.eigh(found.covariance)[1][:, 0]
    assert (drawn @ direction).std() == pytest.approx(0.5 * np.sqrt(np.linalg.eigvalsh(found.covariance)[0]), rel=0.06)


@pytest.mark.slow
def test_log_prob_is_that_at_the_places_times_the_occam_factor(model, stacks):
    images = dequantise(stacks[:2, CONTEXTS], (0, 0))
    found = model.log_prob(images, CONTEXTS)
    assert found.shape == (2,)
    for contexts, ours in zip(images, found, strict=True):
        [poses] = places_by_hand(model, contexts, CONTEXTS)
        joint = model.bruno.posterior(contexts[:0, ..., None], poses[:0], len(CONTEXTS)).at(poses)
        map_ = model.find_map(contexts, CONTEXTS)
        finder, frame = model.finder, map_.subject.frame
        canonical = finder.space.frame
        mode = np.concatenate(
            [map_.subject.coefficients.ravel(), np.log(frame.size / canonical.size), frame.place - canonical.place]
        )
        prior = scipy.stats.multivariate_normal(np.zeros(len(mode)), finder.prior.map_covariance()).logpdf(mode)
        posterior = scipy.stats.multivariate_normal(mode, map_.covariance).logpdf(mode)
        expected = float(joint.log_prob(contexts[..., None])) + prior - posterior
        assert prior < posterior
        assert ours == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_scores_of_slices_are_at_the_places(model, stacks):
    images, contexts = stacks[0, QUERIES], stacks[0, CONTEXTS]
    bits, anomaly = make_scorer(model)(images, QUERIES, contexts, CONTEXTS)
    noisy, given = dequantise(images, (0, 0))[..., None], dequantise(contexts, (0, 1))[..., None]
    context_poses, poses = places_by_hand(model, contexts, CONTEXTS, QUERIES)
    expected, score = model.bruno.conditional_log_prob_and_anomaly_score(noisy, poses, given, context_poses)
    np.testing.assert_allclose(bits, 8 - expected / (SIZE**2 * np.log(2)), rtol=1e-3)
    np.testing.assert_allclose(anomaly, score, rtol=1e-3, atol=0.1)


@pytest.mark.slow
def test_modes_are_those_of_the_loadings_in_the_canonical_volume(model):
    modes = prior_modes(model, 5)
    loadings = model.bruno.distribution.loadings.volume.numpy().reshape(-1, 3)
    values = np.linalg.svd(loadings, compute_uv=False)
    np.testing.assert_allclose(modes.shares, np.square(values) / np.square(values).sum(), rtol=1e-3)
    assert modes.images.shape == (3, 2, NUM_SLICES, SIZE, SIZE)
    # The two ends lie on either side of the mean.
    mean = model.predict(np.zeros((1, 0, SIZE, SIZE), np.float32), [], np.arange(NUM_SLICES))[0]
    one, other = modes.images[0] - mean
    assert (one * other).mean() < 0


def test_find_map_keeps_the_latest(model, stacks, monkeypatch):
    first = model.find_map(stacks[0, CONTEXTS], CONTEXTS)
    calls = []
    monkeypatch.setattr(type(model.finder), 'find', lambda *arguments: calls.append(arguments) or first)
    assert model.find_map(stacks[0, CONTEXTS].copy(), tuple(CONTEXTS)) is first
    assert not calls
    # Other images, or others of their numbers, are another subject.
    model.find_map(stacks[1, CONTEXTS], CONTEXTS)
    model.find_map(stacks[1, CONTEXTS], CONTEXTS[::-1])
    assert len(calls) == 2


@pytest.mark.parametrize('content', [None, b'', b'PK\x03\x04 damaged', 'cut'])
def test_a_missing_or_damaged_registration_is_an_error_of_one_line(run, tmp_path, content):
    good = run.registration.read_bytes()
    path = tmp_path / 'registration.npz'
    if content is not None:
        path.write_bytes(good[: len(good) // 2] if content == 'cut' else content)
    with pytest.raises(UserError, match='cannot be read') as caught:
        MapFinder.load(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert '\n' not in str(caught.value)


@pytest.mark.slow
def test_load_without_a_registration_names_the_file(run):
    moved = run.registration.rename(run.folder / 'moved.npz')
    try:
        with pytest.raises(UserError, match=r'registration\.npz: cannot be read'):
            load(run.folder)
    finally:
        moved.rename(run.registration)


def test_predict_in_frame_is_the_mean_image_in_that_size_and_place(model):
    own, none = model.finder.space.frame, np.zeros((1, 0, SIZE, SIZE), np.float32)
    centred = model.predict_in_frame(own, QUERIES)
    assert (centred.shape, centred.dtype) == ((len(QUERIES), SIZE, SIZE), np.float32)
    np.testing.assert_allclose(centred, model.predict(none, [], QUERIES)[0], atol=1e-6)
    # One slice up and two pixels down.
    moved = model.predict_in_frame(own._replace(place=own.place + np.array([1, 2, 0])), np.array(QUERIES) + 1)
    np.testing.assert_allclose(moved[:, 4:], centred[:, 2:-2], atol=0.01)


def test_locate_is_the_found_map(model, stacks):
    location = model.locate(stacks[0, CONTEXTS], CONTEXTS)
    found = model.finder.find(stacks[0, CONTEXTS], np.array(CONTEXTS))
    np.testing.assert_array_equal(location.found.subject.coefficients, found.subject.coefficients)
    assert (location.error, location.alignment) == (found.error, 'deformable')
    # At the corners of the pixels' grid, the coordinates are those of the pose.
    poses = model.places(found.subject, [6]).numpy()
    corner = poses[0, :12].reshape(3, 4) @ [-(SIZE - 1) / 2, -(SIZE - 1) / 2, 0, 1] + poses[0, 12:].reshape(3, -1)[:, 0]
    np.testing.assert_allclose(location.grid([6])[0, 0, 0], corner, atol=1e-4)


@pytest.mark.slow
def test_alignment_changes_the_map_alone(model, stacks):
    images = stacks[0, CONTEXTS]
    maps = {name: model.with_alignment(name).find_map(images, CONTEXTS).subject for name in contracts.ALIGNMENTS}
    assert not maps['none'].coefficients.any()
    np.testing.assert_array_equal(np.stack(maps['none'].frame), np.stack(model.finder.space.frame))
    assert not maps['affine'].coefficients[:, 4:].any()
    assert maps['deformable'].coefficients.any()
    np.testing.assert_array_equal(maps['auto'].coefficients, maps['deformable'].coefficients)
    affine = model.with_alignment('affine').with_temperature(0.5)
    assert (affine.alignment, affine.temperature, model.alignment) == ('affine', 0.5, 'deformable')
    assert affine.sample(images[None], CONTEXTS, QUERIES, 3, seed=0).shape == (3, 1, len(QUERIES), SIZE, SIZE)
    with pytest.raises(
        UserError, match='`align=rigid`: is unknown; give one of auto, none, similarity, affine, deformable'
    ):
        model.with_alignment('rigid')


def test_locating_models_are_those_of_a_canonical_volume(model):
    assert isinstance(model, contracts.LocatingModel)
    for name in ('with_alignment', 'locate', 'predict_in_frame'):
        own, wanted = (inspect.signature(getattr(kind, name)) for kind in (MappedModel, contracts.LocatingModel))
        assert list(own.parameters) == list(wanted.parameters)
    assert not hasattr(TrainedModel, 'locate')


def test_black_contexts_are_warned_of(model):
    with collect_warnings() as warnings:
        location = model.locate(np.zeros((2, SIZE, SIZE)), [3, 7])
    assert ['show almost no anatomy' in message for message in warnings] == [True]
    np.testing.assert_allclose(location.size_percent, 100)
    np.testing.assert_allclose(location.shift_mm, 0, atol=1e-9)


@pytest.mark.slow
def test_log_posterior_is_that_of_the_found_map_and_coarse_that_of_the_best_start(model):
    images, slices = make_stacks(1, seed=5)[0], np.array(CONTEXTS)
    found = model.finder.find(images[slices], slices)
    assert model.log_posterior(images[slices], slices) == pytest.approx(found.log_posterior)
    affine = model.with_alignment('affine')
    assert affine.log_posterior(images[slices], slices) == pytest.approx(
        model.finder.find(images[slices], slices, 'affine').log_posterior
    )
    # Far from where any training subject lies.
    for coarse in (False, True):
        wrong = model.log_posterior(np.roll(images[slices], 7, axis=1), slices, coarse=coarse)
        assert model.log_posterior(images[slices], slices, coarse=coarse) > wrong
