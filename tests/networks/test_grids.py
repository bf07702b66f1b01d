"""Grids of poses and volumes sampled at them, against NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tfp_bruno.networks import (
    AffineGrid,
    DisplacedGrid,
    Landmarks,
    PlaneGrid,
    affine_pose,
    displaced_pose,
    interpolate_volume,
    plane_matrix,
    sample_volume,
)

SIZE = (6, 8)


def reference(volume, grid):
    """Linear interpolation by SciPy, channel by channel."""
    points = np.moveaxis(grid, -1, 0)
    channels = [ndimage.map_coordinates(each, points, order=1, mode='nearest') for each in np.moveaxis(volume, -1, 0)]
    return np.stack(channels, -1)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    spread=st.floats(0.1, 3.0),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_interpolation_is_that_of_scipy(shape, spread, seed):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=shape)
    grid = rng.normal(size=(2, 5, 3)) * spread + 0.5 * np.subtract(shape[:3], 1)
    np.testing.assert_allclose(interpolate_volume(volume, grid), reference(volume, grid), atol=1e-12)


def test_voxels_are_returned_exactly():
    volume = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    grid = np.stack(np.meshgrid(*map(np.arange, volume.shape[:3]), indexing='ij'), -1)
    np.testing.assert_array_equal(interpolate_volume(volume, grid), volume)


def test_points_that_are_not_numbers_give_no_number():
    assert np.isnan(interpolate_volume(np.ones([2, 2, 2, 1]), [[np.nan, 0.0, 0.0]])).all()


@pytest.mark.slow
def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(1)
    volume, grid = rng.normal(size=(3, 4, 5, 2)), rng.integers(0, 2, size=(7, 3)) + rng.uniform(0.1, 0.9, size=(7, 3))
    theoretical, numerical = tf.test.compute_gradient(interpolate_volume, [tf.constant(volume), tf.constant(grid)])
    for exact, approximate in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(exact, approximate, atol=1e-6)


def test_parallel_grids_are_averaged():
    rng = np.random.default_rng(2)
    volume, grid = rng.normal(size=(3, 4, 5, 2)), rng.uniform(0.0, 3.0, size=(2, 3, 4, 5, 3))
    np.testing.assert_allclose(sample_volume(volume, grid), reference(volume, grid).mean(1), atol=1e-12)


def test_one_hot_poses_are_planes():
    grid = PlaneGrid(4, SIZE)(tf.eye(4))
    assert grid.shape == (4, 1, *SIZE, 3)
    expected = np.stack(np.meshgrid(np.arange(4), np.arange(SIZE[0]), np.arange(SIZE[1]), indexing='ij'), -1)
    np.testing.assert_array_equal(grid[:, 0], expected)


def test_planes_are_affine_grids():
    poses = affine_pose([plane_matrix(position, SIZE) for position in range(4)])
    np.testing.assert_array_equal(AffineGrid(SIZE)(poses), PlaneGrid(4, SIZE)(tf.eye(4)))


def test_affine_grid_is_the_product_with_the_matrix():
    matrix = np.random.default_rng(3).normal(size=(2, 5, 3, 4))
    grid = AffineGrid(SIZE, (-0.25, 0.25))(affine_pose(matrix))
    assert grid.shape == (2, 5, 2, *SIZE, 3)
    for offset, plane in zip((-0.25, 0.25), tf.unstack(grid, axis=2), strict=True):
        pixel = np.array([4 - 2.5, 1 - 3.5, offset, 1.0])
        np.testing.assert_allclose(plane[:, :, 4, 1], matrix @ pixel, atol=1e-5)


def test_displacement_is_bilinear_between_control_points():
    rng = np.random.default_rng(4)
    matrix, displacement = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 3, 3))
    poses = displaced_pose(matrix, displacement)
    grid = DisplacedGrid(SIZE, 3, (-0.5, 0.5))
    assert poses.shape[-1] == grid.pose_size
    rows, columns = np.meshgrid(np.linspace(0, 2, SIZE[0]), np.linspace(0, 2, SIZE[1]), indexing='ij')
    added = [[ndimage.map_coordinates(each, [rows, columns], order=1) for each in slice_] for slice_ in displacement]
    expected = AffineGrid(SIZE, (-0.5, 0.5))(affine_pose(matrix)) + np.moveaxis(added, 1, -1)[:, None]
    np.testing.assert_allclose(grid(poses), expected, atol=1e-5)


@pytest.mark.parametrize('grid', [AffineGrid((5, 7)), DisplacedGrid((5, 7), 4, (-1.0, 0.0, 0.5))])
def test_landmarks_are_corners_and_centre(grid):
    poses = np.random.default_rng(5).normal(size=(2, 3, grid.pose_size)).astype(np.float32)
    mean = grid(poses).numpy().mean(2)
    expected = [mean[..., row, column, :] for row, column in ((0, 0), (0, 6), (4, 0), (4, 6), (2, 3))]
    np.testing.assert_allclose(grid.landmarks(poses), np.stack(expected, 2), atol=1e-5)


def test_distance_of_features_is_the_mean_distance_of_landmarks():
    poses = np.random.default_rng(6).normal(size=(2, 12)).astype(np.float32)
    first, second = Landmarks(AffineGrid(SIZE), 0.5)(poses).numpy()
    points = AffineGrid(SIZE).landmarks(poses).numpy() * [1.0, 0.5, 0.5]
    expected = np.mean(np.sum((points[0] - points[1]) ** 2, -1))
    np.testing.assert_allclose(np.sum((first - second) ** 2), expected, rtol=1e-5)


def test_equal_grids_cause_one_trace():
    traces = []

    @tf.function
    def sample(grid, poses):
        traces.append(grid)
        return grid(poses)

    for size in (list(SIZE), SIZE):
        sample(AffineGrid(size, [0.0]), tf.zeros([2, 12]))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: affine_pose(np.eye(4)), r'`matrix` has shape \(4, 4\), not \[..., 3, 4\]'),
        (lambda: affine_pose(np.full((3, 4), np.nan)), '`matrix` holds NaN or infinity'),
        (lambda: affine_pose('pose'), '`matrix` is not an array of numbers'),
        (lambda: displaced_pose(np.ones((3, 4)), np.ones((3, 2, 3))), r'`displacement` has shape \(3, 2, 3\)'),
        (lambda: displaced_pose(np.ones((3, 4)), np.full((3, 2, 2), np.inf)), '`displacement` holds NaN'),
        (lambda: displaced_pose(np.ones((2, 3, 4)), np.ones((5, 3, 2, 2))), r'`matrix` has the batch shape \(2,\)'),
        (lambda: AffineGrid((4, 0)), '`image_size` must be two positive integers'),
        (lambda: AffineGrid((4, 4), ()), '`offsets` must be one or more finite numbers'),
        (lambda: DisplacedGrid((4, 4), 1), '`control_size` must be 2 or more'),
        (lambda: AffineGrid((4, 4))(tf.zeros([3, 80])), r'poses must have shape \[..., 12\], got \(3, 80\)'),
    ],
)
def test_wrong_arguments_raise_an_error_of_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert '\n' not in str(error.value)
