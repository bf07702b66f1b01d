"""The basis against the covariance matrix of its prior, functions by hand, and interpolation by SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from tfp_bruno.registration import SmoothBasis

SHAPE, VOXEL_SIZE = (7, 9, 6), (2.5, 1.0, 1.5)
VOXELS = [np.arange(size) for size in SHAPE]


@pytest.mark.parametrize('length', [3.0, 8.0])
def test_eigenfunctions_have_the_covariance_of_the_kernel(length):
    basis = SmoothBasis(SHAPE, VOXEL_SIZE, length, 1.7, num_modes=1000)
    functions = basis.at(VOXELS).reshape(-1, basis.size)[:, 4:].astype(np.float64)
    places = np.stack(np.meshgrid(*VOXELS, indexing='ij'), -1).reshape(-1, 3) * VOXEL_SIZE
    expected = 1.7**2 * np.exp(-0.5 * np.square(cdist(places, places) / length))
    np.testing.assert_allclose(functions @ functions.T, expected, atol=1e-5)
    np.testing.assert_allclose(np.square(functions).sum(1), 1.7**2, rtol=1e-5)


def test_few_eigenfunctions_are_the_leading_ones():
    whole, part = (SmoothBasis(SHAPE, VOXEL_SIZE, 8.0, 1.0, count).at(VOXELS)[..., 4:] for count in (1000, 12))
    assert part.shape[-1] == 12
    np.testing.assert_array_equal(part, whole[..., :12])
    energy = np.square(whole).mean((0, 1, 2))
    assert np.all(np.diff(energy) < 1e-6)
    # Of such smooth fields they explain most of the variance.
    assert energy[:12].sum() > 0.95


def test_constant_and_linear_functions():
    functions = SmoothBasis(SHAPE, VOXEL_SIZE, 5.0, 1.3, 3).at(VOXELS)
    np.testing.assert_allclose(functions[..., 0], 1.3, rtol=1e-6)
    for axis, (size, side) in enumerate(zip(SHAPE, VOXEL_SIZE, strict=True)):
        # Millimetres from the middle, of which 5 % is one prior standard deviation.
        expected = 0.05 * side * (np.arange(size) - (size - 1) / 2)
        np.testing.assert_allclose(
            np.moveaxis(functions[..., 1 + axis], axis, -1),
            np.broadcast_to(expected, [*np.delete(SHAPE, axis).tolist(), size]),
            atol=1e-6,
        )


def test_size_is_at_most_that_of_the_box():
    assert SmoothBasis((1, 3, 2), VOXEL_SIZE, 5.0, 1.0).size == 4 + 6
    assert SmoothBasis(SHAPE, VOXEL_SIZE, 5.0, 1.0, 25).size == 4 + 25


@given(data=st.data())
def test_fields_between_voxels_are_interpolated_and_constant_outside(data):
    basis = SmoothBasis(SHAPE, VOXEL_SIZE, 6.0, 1.0, 9)
    coordinates = st.lists(st.floats(-4, 12), min_size=1, max_size=4)
    points = [np.array(data.draw(coordinates)) for _ in range(3)]
    functions = basis.at(points)
    grid = np.stack(np.meshgrid(*points, indexing='ij'))
    for number in range(basis.size):
        expected = ndimage.map_coordinates(basis.at(VOXELS)[..., number], grid, order=1, mode='nearest')
        np.testing.assert_allclose(functions[..., number], expected, atol=1e-5)
    coefficients = np.random.default_rng(0).normal(size=(3, basis.size))
    expected = np.moveaxis(functions @ coefficients.T, -1, 0)
    np.testing.assert_allclose(basis.combine(coefficients, points), expected, atol=1e-5)
