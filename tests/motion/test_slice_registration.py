"""Registration of one slice: derivatives, and optima that are known."""

import nibabel
import numpy as np
import pytest
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from tfp_bruno.errors import UserError
from tfp_bruno.motion.rigid import rigid_matrix, rotation_degrees
from tfp_bruno.motion.slice_registration import (
    Pixels,
    _Problem,
    correlation,
    make_target,
    register_slice,
    rotation_jacobian,
    sample,
)


def smooth_volume():
    """Noise, smoothed by 3 voxels, in a window that falls to 0 at the border, on a grid of 1.5 mm."""
    shape = (40, 44, 36)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 3.0)
    windows = [np.hanning(length) for length in shape]
    affine = nibabel.affines.from_matvec(np.diag([1.5, 1.5, -1.5]), [-30.0, -32.0, 27.0])
    return (noise / noise.std() * np.einsum('i,j,k->ijk', *windows)).astype(np.float32), affine


def plane_points():
    """A tilted plane of points near world 0, every 2 mm."""
    plane = np.stack(np.meshgrid(np.arange(-20, 21, 2.0), np.arange(-20, 21, 2.0), [1.0], indexing='ij'), -1).reshape(
        -1, 3
    )
    return plane @ Rotation.from_euler('xyz', [20, 10, 5], degrees=True).as_matrix().T


def test_sample_equals_scipy_and_is_zero_outside():
    volume, affine = smooth_volume()
    target = make_target(volume, affine)
    points = plane_points() * 1.4
    voxels = nibabel.affines.apply_affine(np.linalg.inv(affine), points)
    np.testing.assert_allclose(
        sample(target, points)[:, 0], ndimage.map_coordinates(volume, voxels.T, order=1), atol=1e-5
    )
    assert not sample(target, points + 500).any()
    # The derivatives along the world axes, by differences over a voxel.
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1.5
        slope = (sample(target, points + step)[:, 0] - sample(target, points - step)[:, 0]) / 3.0
        np.testing.assert_allclose(sample(target, points)[:, 1 + axis], slope, atol=0.01)


@pytest.mark.filterwarnings('error')
def test_sample_is_zero_at_points_that_are_no_voxel_index():
    target = make_target(np.ones((4, 5, 6), np.float32), np.eye(4))
    points = np.array([[1e30, 1, 1], [1, -1e300, 1], [np.nan, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(sample(target, points)[:, 0], [0, 0, 0, 1])


def test_rotation_jacobian_equals_differences():
    for rotvec in (np.array([0.3, -0.5, 0.8]), np.array([1e-8, 0, 0]), np.zeros(3)):
        turn = Rotation.from_rotvec(rotvec)
        for axis, column in enumerate(rotation_jacobian(rotvec).T):
            step = 1e-6 * np.eye(3)[axis]
            change = (Rotation.from_rotvec(rotvec + step) * turn.inv()).as_rotvec() / 1e-6
            np.testing.assert_allclose(column, change, atol=1e-5)


def test_jacobian_of_the_residuals_equals_differences():
    volume, affine = smooth_volume()
    # Smooth enough that the linear interpolation of the gradient is accurate.
    target = make_target(ndimage.gaussian_filter(volume, 2.0), affine)
    points = plane_points()
    problem = _Problem(target, Pixels(points, points[:, 0]), np.eye(4))
    parameters = np.array([1.0, -2.0, 1.5, 2.0, 1.0, -1.0])
    expected = optimize.approx_fprime(parameters, problem.residuals, 0.5)
    found = problem.jacobian(parameters)
    np.testing.assert_allclose(found, expected, atol=0.2 * np.abs(expected).max())
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize('seed', range(5))
def test_register_slice_recovers_a_motion(seed):
    volume, affine = smooth_volume()
    target = make_target(volume, affine)
    rng = np.random.default_rng(seed)
    true = rigid_matrix(rng.uniform(-5, 5, 3), rng.uniform(-2.5, 2.5, 3), np.zeros(3))
    points = plane_points()
    values = sample(target, nibabel.affines.apply_affine(true, points))[:, 0]
    # The correlation does not depend on scale and offset of the intensities.
    found, value = register_slice(target, Pixels(points, 7.0 * values + 100.0), np.eye(4))
    error = nibabel.affines.apply_affine(found, points) - nibabel.affines.apply_affine(true, points)
    assert np.linalg.norm(error, axis=1).mean() < 0.05
    assert rotation_degrees(found @ np.linalg.inv(true)) < 0.2
    assert value > 0.9999
    np.testing.assert_allclose(value, correlation(target, Pixels(points, values), found), atol=1e-6)


def test_correlation_equals_numpy_and_is_zero_without_contrast():
    volume, affine = smooth_volume()
    target, points = make_target(volume, affine), plane_points()
    values = np.random.default_rng(1).normal(size=len(points))
    expected = np.corrcoef(values, sample(target, points)[:, 0])[0, 1]
    np.testing.assert_allclose(correlation(target, Pixels(points, values), np.eye(4)), expected, atol=1e-6)
    assert correlation(target, Pixels(points, np.ones(len(points))), np.eye(4)) == pytest.approx(0.0, abs=1e-9)


def test_register_slice_without_contrast_stays_where_it_is():
    volume, affine = smooth_volume()
    start = rigid_matrix(np.array([1.0, 2.0, 3.0]), np.array([400.0, 0.0, 0.0]), np.zeros(3))
    points = plane_points()
    found, value = register_slice(make_target(volume, affine), Pixels(points, points[:, 0]), start)
    np.testing.assert_allclose(found, start, atol=1e-9)
    assert value == pytest.approx(0.0, abs=1e-9)


def test_register_slice_needs_six_pixels():
    volume, affine = smooth_volume()
    with pytest.raises(UserError, match='at least 6'):
        register_slice(make_target(volume, affine), Pixels(np.zeros((5, 3)), np.arange(5.0)), np.eye(4))
