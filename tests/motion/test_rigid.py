"""Rigid transforms, against SimpleITK and identities."""

import nibabel
import numpy as np
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.motion.rigid import LPS, fit_rigid, rigid_matrix, rotation_degrees

numbers = st.lists(st.floats(-60, 60), min_size=9, max_size=9)


@given(numbers)
def test_rigid_matrix_equals_simpleitk(values):
    angles, translation, centre = np.reshape(values, (3, 3))
    # ITK's order 'ZYX' is the rotation about the fixed axes x, y, z; its world is LPS.
    signs = np.diag(LPS)[:3]
    transform = SimpleITK.Euler3DTransform((signs * centre).tolist())
    transform.SetComputeZYX(True)
    transform.SetRotation(*np.radians(signs * angles).tolist())
    transform.SetTranslation((signs * translation).tolist())
    point = np.array([12.0, -7.0, 30.0])
    expected = signs * transform.TransformPoint((signs * point).tolist())
    moved = nibabel.affines.apply_affine(rigid_matrix(angles, translation, centre), point)
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_rotation_degrees_of_one_axis():
    angles = np.zeros((2, 4, 3))
    angles[1, :, 2] = [0.0, 10.0, -75.0, 180.0]
    matrices = rigid_matrix(angles, np.zeros_like(angles), np.ones(3))
    np.testing.assert_allclose(rotation_degrees(matrices), np.abs(angles[..., 2]), atol=1e-9)


def test_fit_rigid_recovers_a_transform_and_ignores_points_of_weight_zero():
    matrix = rigid_matrix(np.array([10.0, -20.0, 5.0]), np.array([3.0, 4.0, -9.0]), np.array([50.0, 0.0, 10.0]))
    source = np.random.default_rng(1).normal(size=(20, 3)) * 30
    target = nibabel.affines.apply_affine(matrix, source)
    np.testing.assert_allclose(fit_rigid(source, target), matrix, atol=1e-9)
    target[0] += 100.0
    np.testing.assert_allclose(fit_rigid(source, target, np.arange(20) > 0), matrix, atol=1e-9)
    assert np.abs(fit_rigid(source, target) - matrix).max() > 1.0
