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
    found = [finder.find(stacks[1, SLICES], SLICES, name) for name in ('none', 'similarity', 'affine', 'deformable')]
    assert np.all(np.diff([each.error for each in found]) < 0)
    assert np.all(np.diff([each.log_posterior for each in found]) > 0)
    # Of the displacement, the eigenfunctions and the constant are not searched for.
    for affine in found[1:3]:
        assert not affine.subject.coefficients[:, 4:].any()
        assert not affine.subject.coefficients[:, 0].any()


@pytest.mark.parametrize(('alignment', 'size'), [('similarity', 7), ('affine', 12)])
def test_directions_are_linear_maps(finder, alignment, size):
    prior, space = finder.prior, finder.space
    along = prior.directions(alignment)
    assert along.shape == (len(prior.covariance), size + finder.model.rank)
    np.testing.assert_allclose(along.T @ along, np.eye(along.shape[1]), atol=1e-12)
    drawn = along @ (0.3 * np.random.default_rng(4).normal(size=along.shape[1]))
    subject, _ = prior.unpack(drawn)
    # Millimetres, about the middle of the box.
    points = (np.arange(3, 8.0), np.arange(5, 11.0), np.arange(4, 12.0))
    before = np.stack(np.meshgrid(*points, indexing='ij'), -1).reshape(-1, 3) * SIDES
    after = space.grid(subject, points).reshape(3, -1).T * SIDES
    design = np.column_stack([before, np.ones(len(before))])
    linear, *_ = np.linalg.lstsq(design, after, rcond=None)
    np.testing.assert_allclose(design @ linear, after, atol=1e-4)
    if alignment == 'similarity':
        # A multiple of a rotation, to first order in the angle.
        squares = linear[:3].T @ linear[:3]
        scale = np.trace(squares) / 3
        np.testing.assert_allclose(squares / scale, np.eye(3), atol=0.01)
        assert np.abs(linear[:3] / np.sqrt(scale) - np.eye(3)).max() > 0.005


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
    for name in ('none', 'similarity', 'affine', 'deformable'):
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
