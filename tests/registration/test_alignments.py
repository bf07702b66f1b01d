"""Maps of all alignments, and their errors, with a finder of small random blobs."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.registration import MapFinder, Registration, find_misfits, register_subjects

SHAPE, SIDES, SLICES = (10, 16, 16), (3.0, 2.0, 2.0), np.array([2, 5, 7])


@pytest.fixture(scope='module')
def stacks():
    """Six blobs that differ in size, place and grey levels."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing='ij'), -1)
    made = []
    for _ in range(6):
        centre, radius = rng.normal([4.5, 7.5, 7.5]), rng.uniform(0.8, 1.2, 3) * [3.5, 5, 5]
        inside = np.sum(np.square((grid - centre) / radius), -1) < 1
        made.append(inside * (0.5 + ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)))
    return np.clip(made, 0, 1).astype(np.float32)


@pytest.fixture(scope='module')
def finder(stacks):
    maps = register_subjects(stacks, SIDES)
    return MapFinder.fit(Registration.of_maps(stacks, SIDES, maps))


def test_alignment_none_is_the_canonical_volume(finder, stacks):
    found = finder.find(stacks[0, SLICES], SLICES, 'none')
    identity = finder.space.identity
    np.testing.assert_array_equal(np.stack(found.subject.frame), np.stack(identity.frame))
    assert not found.subject.coefficients.any()
    assert not found.covariance.any()


@pytest.mark.slow
def test_alignments_fit_better_the_more_they_find(finder, stacks):
    errors = [finder.find(stacks[1, SLICES], SLICES, name).error for name in ('none', 'frame', 'deformable')]
    assert errors[2] < errors[1] < errors[0]
    frame, deformable = (finder.find(stacks[1, SLICES], SLICES, name) for name in ('frame', 'deformable'))
    assert not frame.subject.coefficients.any()
    assert deformable.log_posterior > frame.log_posterior


def test_objective_at_a_map_is_that_of_the_best_scores(finder, stacks):
    search, model, prior, images = finder.search, finder.model, finder.prior, stacks[2, SLICES]
    found = finder.find(images, SLICES)
    points = (SLICES, *(np.arange(search.block // 2, size, search.block) for size in SHAPE[1:]))
    grid = finder.space.grid(found.subject, points)
    means = [0, search.block, search.block]
    observed = ndimage.uniform_filter(images, means)[:, points[1]][:, :, points[2]]

    def objective(scores):
        sampled = ndimage.map_coordinates(
            ndimage.uniform_filter(model.volume(scores), means), grid, order=1, mode='nearest'
        )
        squares = np.sum(np.square(observed - sampled))
        parameters = prior.pack(found.subject, scores)
        distance = parameters @ np.linalg.solve(prior.covariance, parameters)
        return -0.5 * (squares / search.noise**2 + distance), np.sqrt(squares / observed.size)

    value, error = objective(found.scores)
    assert found.log_posterior == pytest.approx(value, rel=1e-3)
    assert found.error == pytest.approx(error, rel=1e-3)
    assert found.misfit == pytest.approx(-value / np.sum(observed > 0.02), rel=1e-3)
    for step in 0.1 * np.eye(len(found.scores)):
        assert max(objective(found.scores + step)[0], objective(found.scores - step)[0]) < value


def test_no_slices_have_no_error(finder):
    for name in ('none', 'frame', 'deformable'):
        assert finder.find(np.zeros((0, *SHAPE[1:])), [], name).error == 0


@pytest.mark.slow
def test_misfits_are_quantiles_and_are_kept(finder, stacks, tmp_path):
    sets = [SLICES] * len(stacks)
    found = [finder.find(stack[SLICES], SLICES) for stack in stacks]
    misfits = find_misfits(stacks, sets, [each.subject for each in found], finder)
    expected = np.quantile([each.misfit for each in found], [0, 0.5, 1])
    np.testing.assert_allclose(misfits[[0, 10, 20]], expected, rtol=1e-5)
    MapFinder(finder.model, finder.prior, misfits=misfits).save(tmp_path / 'finder.npz')
    np.testing.assert_array_equal(MapFinder.load(tmp_path / 'finder.npz').misfits, misfits)
    finder.save(tmp_path / 'finder.npz')
    assert MapFinder.load(tmp_path / 'finder.npz').misfits is None
