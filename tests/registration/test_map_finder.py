"""A finder finds the same map after saving and loading, and the identity from slices that show nothing."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.registration import MapFinder, find_maps

SLICES = np.array([4, 8, 11])


@pytest.fixture(scope='module')
def finder(population, registration):
    return MapFinder.fit(registration)


@pytest.fixture(scope='module')
def stack(blobs, make_subject, make_stack):
    return make_stack(blobs, make_subject(99))


def assert_equal_maps(one, other):
    np.testing.assert_array_equal(one.subject.frame, other.subject.frame)
    np.testing.assert_array_equal(one.subject.coefficients, other.subject.coefficients)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.covariance, other.covariance)


@pytest.mark.slow
def test_a_file_keeps_the_finder(finder, stack, tmp_path):
    np.savez(tmp_path / 'finder.npz', **finder.to_arrays())
    loaded = MapFinder.load(tmp_path / 'finder.npz')
    ours, theirs = loaded.to_arrays(), finder.to_arrays()
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values)
        assert ours[name].dtype == values.dtype
    assert loaded.search == finder.search
    assert_equal_maps(loaded.find(stack[SLICES], SLICES), finder.find(stack[SLICES], SLICES))


@pytest.mark.parametrize('count', [0, 2])
def test_without_anatomy_the_map_is_the_identity(finder, count):
    found = finder.find(np.zeros((count, 20, 18)), np.arange(count))
    points = [np.arange(size) for size in finder.space.basis.shape]
    np.testing.assert_allclose(finder.space.grid(found.subject, points), np.indices((16, 20, 18)), atol=1e-5)
    np.testing.assert_array_equal(found.covariance, finder.prior.map_covariance())
    assert found.error == 0


def test_found_map_explains_the_slices_better_than_the_identity(finder, population, stack):
    found = finder.find(stack[SLICES], SLICES)
    points = [np.arange(size) for size in stack.shape]
    errors = []
    for subject in (finder.space.identity, found.subject):
        grid = finder.space.grid(subject, points)
        errors.append(np.abs(stack - sample(finder.model.mean, grid))[2:-2].mean())
    # Also in the slices that were not seen.
    assert errors[1] < 0.75 * errors[0]
    assert found.error < 0.1


def sample(volume, points):
    return ndimage.map_coordinates(volume, points, order=1, mode='nearest')


@pytest.mark.slow
def test_slice_numbers_may_be_a_list(finder, stack):
    assert_equal_maps(finder.find(stack[SLICES], SLICES.tolist()), finder.find(stack[SLICES], SLICES))


@pytest.mark.slow
def test_find_maps_takes_subjects_in_turn(finder, population):
    sets = [np.array([7]), np.array([12, 3]), np.array([9, 5, 11])]
    found = find_maps(population[:2], sets, finder)
    assert len(found) == 3
    for number, (slices, subject) in enumerate(zip(sets, found, strict=True)):
        expected = finder.find(population[number % 2][slices], slices).subject
        np.testing.assert_array_equal(subject.coefficients, expected.coefficients)
        np.testing.assert_array_equal(subject.frame, expected.frame)
