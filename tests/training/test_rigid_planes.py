"""Random planes are rigid and meet the foreground; their slices have the values of the volume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_bruno.networks.pose_vectors import plane_matrix
from tfp_bruno.training.rigid_planes import draw_planes, sample_planes

SHAPE, VOXEL_SIZE = (12, 10, 14), (3.0, 2.0, 2.0)


def make_blob(centre=(6, 4, 7), radius=3.0):
    index = np.indices(SHAPE)
    distance = [side * (each - at) for side, each, at in zip(VOXEL_SIZE, index, centre, strict=True)]
    return (np.linalg.norm(distance, axis=0) < 2 * radius).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_planes_are_rigid_in_mm_and_meet_the_foreground(seed):
    planes = draw_planes(make_blob(), VOXEL_SIZE, 3, np.random.default_rng(seed))
    steps = planes[:, :, :3] * np.array(VOXEL_SIZE)[:, None]
    # Steps of a pixel, a pixel and a slice: orthogonal, as long as the volume's own, and not mirrored.
    np.testing.assert_allclose(
        np.swapaxes(steps, 1, 2) @ steps, np.broadcast_to(np.diag([4, 4, 9]), (3, 3, 3)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(steps[:, [1, 2, 0]]), 12.0)
    assert (sample_planes(make_blob(), planes).max((1, 2)) > 0).all()


def test_directions_are_uniform():
    planes = draw_planes(make_blob(), VOXEL_SIZE, 20000, np.random.default_rng(0))
    normals = planes[:, :, 2] * np.array(VOXEL_SIZE) / VOXEL_SIZE[0]
    np.testing.assert_allclose(normals.T @ normals / len(normals), np.eye(3) / 3, atol=0.01)
    np.testing.assert_allclose(normals.mean(0), 0, atol=0.01)


def test_planes_of_the_stack_are_its_slices():
    volume = np.random.default_rng(0).random(SHAPE, np.float32)
    planes = np.stack([plane_matrix(position, SHAPE[1:]) for position in range(SHAPE[0])])
    np.testing.assert_allclose(sample_planes(volume, planes), volume, atol=1e-6)


@pytest.mark.parametrize('offsets', [(0.0,), (-0.5, 0.5)])
def test_slices_of_a_linear_volume_are_exact(offsets):
    slope = np.array([0.1, -0.2, 0.3])
    volume = np.einsum('c,ckhw->khw', slope, np.indices(SHAPE)).astype(np.float32)
    plane = draw_planes(make_blob(), VOXEL_SIZE, 1, np.random.default_rng(3))[0]
    # The middle of the slice lies inside the volume.
    image = sample_planes(volume, plane[None], offsets)[0]
    for row, column in [(4, 6), (5, 7), (4, 7)]:
        expected = slope @ plane @ [row - 4.5, column - 6.5, 0, 1]
        assert image[row, column] == pytest.approx(expected, abs=1e-4)


def test_outside_the_volume_slices_are_zero():
    planes = plane_matrix(40.0, SHAPE[1:])[None]
    np.testing.assert_array_equal(sample_planes(np.ones(SHAPE, np.float32), planes), 0)


def test_an_empty_volume_has_planes():
    planes = draw_planes(np.zeros(SHAPE), VOXEL_SIZE, 2, np.random.default_rng(0))
    assert np.isfinite(planes).all()
