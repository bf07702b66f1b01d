"""The mode against SciPy's optimiser, its covariance against finite differences, and recovery of known maps."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, optimize

from tfp_bruno.registration import (
    AppearanceFields,
    CanonicalModel,
    CanonicalSpace,
    MapPrior,
    MapSearch,
    SmoothBasis,
    SubjectMap,
)

SLICES = np.array([3, 6, 8, 10, 13])


def displacement_error(space, found, subject):
    """Returns the distances of where two maps take the voxels inside the anatomy, voxels."""
    points = [np.arange(4, size - 4) for size in space.basis.shape]
    return np.sqrt(np.square(space.grid(found, points) - space.grid(subject, points)).sum(0))


@pytest.fixture(scope='module')
def make_model(space, blobs):
    """Makes a model whose mean is the blobs, and whose components are smooth patterns times it."""

    def make(rank=0):
        k, h, w = np.indices(blobs.shape)
        patterns = np.stack([np.cos(k / 3) * np.sin(h / 4), np.cos(w / 4) * np.sin(k / 5)], -1)[..., :rank]
        return CanonicalModel(space, blobs, (0.2 * blobs[..., None] * patterns).astype(np.float32))

    return make


def refine(search, model, slices, subject, frame=False):
    """Searches for displacement and scores from a frame, and for the frame if asked, under independent parameters."""
    fields, prior = AppearanceFields.of(model, search.block), MapPrior.standard(model.space, model.rank)
    fixed = [] if frame else np.arange(prior.map_size - 6, prior.map_size)
    directions = np.delete(np.eye(len(prior.covariance)), fixed, axis=1)
    start = subject._replace(coefficients=np.zeros_like(subject.coefficients))
    return search.refine(fields, prior, slices, SLICES, start, np.zeros(model.rank), directions)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('block', [1, 2])
def test_find_recovers_a_known_displacement(space, blobs, make_model, make_subject, make_stack, seed, block):
    subject = make_subject(seed)
    stack = make_stack(blobs, subject)
    found = refine(MapSearch(noise=0.02, block=block), make_model(), stack[SLICES], subject)
    before = displacement_error(space, subject._replace(coefficients=0 * subject.coefficients), subject)
    after = displacement_error(space, found.subject, subject)
    assert np.median(before) > 0.5
    # Blocks of pixels tell less.
    assert np.median(after) < (0.2 if block == 1 else 0.35)
    assert np.median(after) < (0.3 if block == 1 else 0.45) * np.median(before)
    assert found.error < 0.02
    np.testing.assert_allclose(np.stack(found.subject.frame), np.stack(subject.frame), rtol=1e-12)
    assert found.scores.shape == (0,)


def test_find_recovers_known_scores(blobs, make_model, make_subject, make_stack):
    model, subject, scores = make_model(2), make_subject(4, 0.5), np.array([1.0, -0.7])
    stack = make_stack(model.volume(scores), subject)
    found = refine(MapSearch(noise=0.02), model, stack[SLICES], subject)
    np.testing.assert_allclose(found.scores, scores, atol=0.15)


def make_problem(space, make_model, make_stack, seed=2, exact=False):
    """A search of 24 coefficients and 2 scores, and its objective by definition."""
    tiny = CanonicalSpace(space.frame, SmoothBasis(space.basis.shape, space.basis.voxel_size, 14.0, 0.8, 4))
    model = make_model(2)
    rng = np.random.default_rng(seed)
    subject = SubjectMap(space.frame, 0.7 * rng.normal(size=(3, tiny.basis.size)))
    points = [SLICES, *(np.arange(size) for size in tiny.basis.shape[1:])]

    def predicted(parameters):
        moved = subject._replace(coefficients=parameters[:-2].reshape(3, -1))
        return sample(model.volume(parameters[-2:]), tiny.grid(moved, points))

    truth = np.concatenate([subject.coefficients.ravel(), [0.5, -0.5]])
    slices = predicted(truth)
    slices = slices if exact else slices + 0.03 * rng.normal(size=slices.shape)
    noise = 0.1

    def objective(parameters):
        error = slices.astype(np.float64) - predicted(parameters)
        return np.square(error).sum() / (2 * noise**2) + np.square(parameters).sum() / 2

    return tiny, CanonicalModel(tiny, model.mean, model.loadings), slices, predicted, objective, noise


def sample(volume, points):
    """Interpolation at `[3, ...]`, by SciPy in float64."""
    return ndimage.map_coordinates(volume.astype(np.float64), points, order=1, mode='nearest')


def test_find_is_the_mode_of_the_posterior(space, make_model, make_stack):
    tiny, model, slices, _, objective, noise = make_problem(space, make_model, make_stack)
    found = refine(MapSearch(noise=noise, block=1, iterations=30), model, slices, tiny.identity)
    mode = np.concatenate([found.subject.coefficients.ravel(), found.scores])
    reference = optimize.minimize(objective, 0 * mode, method='L-BFGS-B', options={'eps': 1e-3, 'maxiter': 60})
    assert objective(0 * mode) > reference.fun + 10
    assert objective(mode) < reference.fun + 0.02 * (objective(0 * mode) - reference.fun)
    deviations = np.sqrt(np.diag(found.covariance))
    assert np.abs(mode - reference.x)[:-2].max() < 2 * deviations.max()
    # The objective that is reported is that of the definition.
    assert -found.log_posterior == pytest.approx(objective(mode), rel=1e-3)


def test_covariance_is_the_inverse_of_the_hessian_by_finite_differences(space, make_model, make_stack):
    tiny, model, slices, predicted, _, noise = make_problem(space, make_model, make_stack, exact=True)
    found = refine(MapSearch(noise=noise, block=1, iterations=30), model, slices, tiny.identity)
    mode = np.concatenate([found.subject.coefficients.ravel(), found.scores])
    # Differences over about a voxel, as the slopes of the search.
    steps = 0.2 * np.eye(len(mode))
    jacobian = np.stack([(predicted(mode + s) - predicted(mode - s)).ravel() / 0.4 for s in steps], 1)
    expected = np.linalg.inv(jacobian.T @ jacobian / noise**2 + np.eye(len(mode)))[:-2, :-2]
    assert found.covariance.shape == (len(mode) + 4,) * 2
    # The frame was not searched for.
    assert not found.covariance[-6:].any()
    assert not found.covariance[:, -6:].any()
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found.covariance[:-6, :-6] / scale, expected / scale, atol=0.15)


def test_error_is_the_root_mean_square_of_the_residual(space, make_model, make_stack):
    tiny, model, slices, predicted, _, noise = make_problem(space, make_model, make_stack)
    found = refine(MapSearch(noise=noise, block=1, iterations=30), model, slices, tiny.identity)
    mode = np.concatenate([found.subject.coefficients.ravel(), found.scores])
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(slices - predicted(mode)))), rel=0.03)


def test_slices_of_the_mean_are_not_displaced(space, blobs, make_model):
    found = refine(MapSearch(block=1), make_model(2), blobs[SLICES], space.identity, frame=True)
    np.testing.assert_allclose(found.subject.coefficients, 0, atol=0.01)
    np.testing.assert_allclose(found.scores, 0, atol=0.01)
    assert found.error < 1e-3
    # Slices narrow the prior, whose covariance is the identity.
    coefficients = found.covariance[:-6, :-6]
    assert 0 < np.linalg.eigvalsh(coefficients).min() < 0.1
    assert np.linalg.eigvalsh(coefficients).max() < 1 + 1e-6


@pytest.mark.parametrize('axis', range(3))
def test_frame_is_found_with_the_rest(space, blobs, make_model, make_stack, axis):
    frame = space.frame
    size, place = frame.size.copy(), frame.place.copy()
    size[axis] *= 1.08
    place[axis] += 0.6
    subject = space.identity._replace(frame=frame._replace(size=size, place=place))
    found = refine(MapSearch(noise=0.02), make_model(), make_stack(blobs, subject)[SLICES], space.identity, frame=True)
    assert np.abs(displacement_error(space, space.identity, subject)).max() > 0.5
    assert np.abs(displacement_error(space, found.subject, subject)).max() < 0.25


@pytest.fixture
def fitted(space, blobs, make_model, make_subject, make_stack):
    """Fields and the prior of eight subjects, and a search."""
    model, rng = make_model(2), np.random.default_rng(7)
    scores = rng.normal(size=(8, 2))
    search = MapSearch(noise=0.03)
    prior = MapPrior.fit(space, [make_subject(seed) for seed in range(8)], scores)
    return search, AppearanceFields.of(model, search.block), prior


@pytest.mark.slow
def test_find_is_the_best_of_the_refined_starts(fitted, blobs, make_subject, make_stack):
    search, fields, prior = fitted
    images = make_stack(blobs, make_subject(20))[SLICES]
    every = dataclasses.replace(search, num_starts=8)
    refined = [
        search.refine(fields, prior, images, SLICES, *prior.unpack(each.astype(float))).log_posterior
        for each in prior.subjects
    ]
    assert every.find(fields, prior, images, SLICES).log_posterior == pytest.approx(max(refined))
    assert search.find(fields, prior, images, SLICES).log_posterior > np.median(refined) - 1e-6


@pytest.mark.parametrize('is_symmetric', [True, False])
def test_two_places_that_explain_a_slice_are_noticed(space, is_symmetric):
    # Two equal balls, one above the other; the slice shows one of them, or one that only the upper one is like.
    k, h, w = np.indices(space.basis.shape)
    balls = [np.exp(-(((k - at) * 2) ** 2 + ((h - 9.5) ** 2 + (w - 8.5) ** 2) * 2) / 20.0) for at in (4, 11)]
    volume = (0.8 * balls[0] + (0.8 if is_symmetric else 0.3) * balls[1]).astype(np.float32)
    model = CanonicalModel(space, volume, np.zeros((*volume.shape, 0), np.float32))
    search = MapSearch(noise=0.03)
    space = space._replace(frame=space.frame._replace(place=np.array([7.5, 9.5, 8.5])))
    model = dataclasses.replace(model, space=space)
    # Subjects that lie far up or down are usual. The slice at 6.5 shows what the canonical volume has at 3 or at 10.
    standard = MapPrior.standard(space, 0)
    scale = standard.scale * [1, 1, 1, 8, 1, 1]
    subjects = np.zeros((2, standard.map_size), np.float32)
    subjects[:, -3] = np.array([3.5, -3.5]) / scale[3]
    prior = dataclasses.replace(standard, scale=scale, subjects=subjects)
    found = search.find(AppearanceFields.of(model, search.block), prior, volume[[3]], np.array([6.5]))
    assert found.ambiguity == (pytest.approx(7 * 2.0, abs=1.5) if is_symmetric else 0.0)


def test_a_training_subject_is_its_own_start(fitted, blobs, make_subject, make_stack):
    search, fields, prior = fitted
    images = make_stack(blobs, make_subject(3))[SLICES]
    starts, errors = search.starts(fields, prior, images, SLICES)
    np.testing.assert_allclose(starts[0], prior.subjects[3], rtol=1e-6)
    assert (np.diff(errors) >= 0).all()


def test_directions_of_the_frame_find_the_frame_alone(fitted, space, blobs, make_subject, make_stack):
    search, fields, prior = fitted
    subject = make_subject(5)
    subject = subject._replace(coefficients=0 * subject.coefficients)
    directions = np.eye(len(prior.covariance))[:, prior.map_size - 6 :]
    found = search.find(fields, prior, make_stack(blobs, subject)[SLICES], SLICES, directions)
    assert not found.subject.coefficients.any()
    assert np.median(displacement_error(space, found.subject, subject)) < 0.3
    assert not found.covariance[:-6].any()
    assert np.linalg.eigvalsh(found.covariance[-6:, -6:]).min() > 0


def test_find_does_not_depend_on_the_order_of_slices(fitted, blobs, make_subject, make_stack):
    search, fields, prior = fitted
    stack, order = make_stack(blobs, make_subject(1)), [3, 0, 4, 2, 1]
    one, other = (search.find(fields, prior, stack[slices], slices) for slices in (SLICES, SLICES[order]))
    np.testing.assert_allclose(one.subject.coefficients, other.subject.coefficients, atol=1e-3)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-3)
