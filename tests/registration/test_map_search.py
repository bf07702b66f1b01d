"""The mode against SciPy's optimiser, its covariance against finite differences, and recovery of known maps."""

import numpy as np
import pytest
from scipy import ndimage, optimize

from tfp_bruno.registration import CanonicalModel, CanonicalSpace, MapSearch, SmoothBasis, SubjectMap

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


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('block', [1, 2])
def test_find_recovers_a_known_displacement(space, blobs, make_model, make_subject, make_stack, seed, block):
    subject = make_subject(seed)
    stack = make_stack(blobs, subject)
    found = MapSearch(ranks=(0,), noise=0.02, block=block).find(make_model(), stack[SLICES], SLICES, subject.frame)
    before = displacement_error(space, subject._replace(coefficients=0 * subject.coefficients), subject)
    after = displacement_error(space, found.subject, subject)
    assert np.median(before) > 0.5
    # Blocks of pixels tell less.
    assert np.median(after) < (0.2 if block == 1 else 0.35)
    assert np.median(after) < (0.3 if block == 1 else 0.45) * np.median(before)
    assert found.error < 0.02
    assert found.subject.frame is subject.frame
    assert found.scores.shape == (0,)


def test_find_recovers_known_scores(blobs, make_model, make_subject, make_stack):
    model, subject, scores = make_model(2), make_subject(4, 0.5), np.array([1.0, -0.7])
    stack = make_stack(model.volume(scores), subject)
    found = MapSearch(ranks=(0, 2), noise=0.02).find(model, stack[SLICES], SLICES, subject.frame)
    np.testing.assert_allclose(found.scores, scores, atol=0.15)
    # A model of fewer components than asked for has as many as there are.
    again = MapSearch(ranks=(0, 2, 9), noise=0.02).find(model, stack[SLICES], SLICES, subject.frame)
    assert again.scores.shape == (2,)


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
    found = MapSearch(ranks=(2,), noise=noise, block=1, iterations=30).find(model, slices, SLICES, tiny.frame)
    mode = np.concatenate([found.subject.coefficients.ravel(), found.scores])
    reference = optimize.minimize(objective, 0 * mode, method='L-BFGS-B', options={'eps': 1e-3, 'maxiter': 60})
    assert objective(0 * mode) > reference.fun + 10
    assert objective(mode) < reference.fun + 0.02 * (objective(0 * mode) - reference.fun)
    deviations = np.sqrt(np.diag(found.covariance))
    assert np.abs(mode - reference.x)[:-2].max() < 2 * deviations.max()


def test_covariance_is_the_inverse_of_the_hessian_by_finite_differences(space, make_model, make_stack):
    tiny, model, slices, predicted, _, noise = make_problem(space, make_model, make_stack, exact=True)
    found = MapSearch(ranks=(2,), noise=noise, block=1, iterations=30).find(model, slices, SLICES, tiny.frame)
    mode = np.concatenate([found.subject.coefficients.ravel(), found.scores])
    # Differences over about a voxel, as the slopes of the search.
    steps = 0.2 * np.eye(len(mode))
    jacobian = np.stack([(predicted(mode + s) - predicted(mode - s)).ravel() / 0.4 for s in steps], 1)
    expected = np.linalg.inv(jacobian.T @ jacobian / noise**2 + np.eye(len(mode)))[:-2, :-2]
    assert found.covariance.shape == (len(mode) - 2,) * 2
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found.covariance / scale, expected / scale, atol=0.15)


def test_error_is_the_root_mean_square_of_the_residual(space, make_model, make_stack):
    tiny, model, slices, predicted, _, noise = make_problem(space, make_model, make_stack)
    found = MapSearch(ranks=(2,), noise=noise, block=1, iterations=30).find(model, slices, SLICES, tiny.frame)
    mode = np.concatenate([found.subject.coefficients.ravel(), found.scores])
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(slices - predicted(mode)))), rel=0.03)


def test_slices_of_the_mean_are_not_displaced(space, blobs, make_model):
    found = MapSearch(block=1).find(make_model(2), blobs[SLICES], SLICES, space.frame)
    np.testing.assert_allclose(found.subject.coefficients, 0, atol=0.01)
    np.testing.assert_allclose(found.scores, 0, atol=0.01)
    assert found.error < 1e-3
    # Slices narrow the prior, whose covariance is the identity.
    assert 0 < np.linalg.eigvalsh(found.covariance).min() < 0.1
    assert np.linalg.eigvalsh(found.covariance).max() < 1 + 1e-6


def test_find_does_not_depend_on_the_order_of_slices(blobs, make_model, make_subject, make_stack):
    subject = make_subject(1)
    stack, order = make_stack(blobs, subject), [3, 0, 4, 2, 1]
    one, other = (
        MapSearch(ranks=(0, 2)).find(make_model(2), stack[slices], slices, subject.frame)
        for slices in (SLICES, SLICES[order])
    )
    np.testing.assert_allclose(one.subject.coefficients, other.subject.coefficients, atol=1e-3)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-3)
