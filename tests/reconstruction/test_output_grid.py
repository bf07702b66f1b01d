"""The output grid is isotropic, without shear, covers the stack and keeps every world point."""

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.data import get_definition
from tfp_bruno.reconstruction.output_grid import centred_stack_affine, isotropic_grid, to_grid


def stack_affine(seed, shear=0.0):
    rng = np.random.default_rng(seed)
    rotation = Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix()
    matrix = rotation @ np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]]) @ np.diag([-2.5, -2.5, 1.1])
    return nibabel.affines.from_matvec(matrix, rng.normal(0, 40, 3))


@pytest.mark.parametrize('shear', [0.0, 0.2])
@pytest.mark.parametrize('spacing', [0.8, 1.0, 2.5])
@pytest.mark.parametrize('seed', range(3))
def test_isotropic_grid_has_no_shear_and_covers_the_stack(seed, spacing, shear):
    affine = stack_affine(seed, shear)
    grid = isotropic_grid(affine, (80, 64, 64), spacing)
    matrix = grid.affine[:3, :3]
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3) * spacing**2, atol=1e-9)
    assert np.linalg.det(matrix) > 0
    assert nibabel.aff2axcodes(grid.affine) == ('R', 'A', 'S')
    corners = [[w, h, k] for w in (-0.5, 63.5) for h in (-0.5, 63.5) for k in (-0.5, 79.5)]
    voxels = nibabel.affines.apply_affine(np.linalg.inv(grid.affine) @ affine, corners)
    assert (voxels > -0.501).all()
    assert (voxels < np.array(grid.shape) - 0.499).all()


def test_isotropic_grid_has_the_size_of_the_field_of_view():
    affine = centred_stack_affine(get_definition('fetal'))
    np.testing.assert_allclose(affine @ [31.5, 31.5, 39.5, 1], [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(np.diag(affine), [-2.5, -2.5, 1.0, 1.0])
    grid = isotropic_grid(affine, (80, 64, 64), 1.0)
    assert grid.shape == (160, 160, 80)
    np.testing.assert_allclose(grid.affine[:3, 3], [-79.5, -79.5, -39.5])


@pytest.mark.parametrize('shear', [0.0, 0.2])
def test_to_grid_keeps_the_world_point_of_a_blob(shear):
    affine = stack_affine(1, shear)
    k, h, w = np.meshgrid(np.arange(80), np.arange(64), np.arange(64), indexing='ij')
    images = np.exp(-((k - 33.3) ** 2 / 60 + (h - 28.2) ** 2 / 18 + (w - 37.1) ** 2 / 18)).astype(np.float32)
    grid = isotropic_grid(affine, images.shape, 1.0)
    centre = nibabel.affines.apply_affine(grid.affine, ndimage.center_of_mass(to_grid(images, affine, grid)))
    np.testing.assert_allclose(centre, nibabel.affines.apply_affine(affine, [37.1, 28.2, 33.3]), atol=0.02)


def test_to_grid_is_exact_for_a_linear_ramp():
    affine = stack_affine(2)
    k, h, w = np.meshgrid(np.arange(80), np.arange(64), np.arange(64), indexing='ij')
    world = nibabel.affines.apply_affine(affine, np.stack([w, h, k], -1))
    images = (world @ [0.3, -0.2, 0.5]).astype(np.float32)
    grid = isotropic_grid(affine, images.shape, 2.0)
    resampled = to_grid(images, affine, grid)
    middle = tuple(length // 2 for length in grid.shape)
    expected = nibabel.affines.apply_affine(grid.affine, middle) @ [0.3, -0.2, 0.5]
    assert resampled[middle] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize('shear', [0.0, 0.2])
@pytest.mark.parametrize('spacing', [0.9, 3.0])
def test_to_grid_matches_scipy(shear, spacing):
    affine = stack_affine(4, shear)
    images = np.random.default_rng(0).uniform(0, 1, (40, 30, 20)).astype(np.float32)
    grid = isotropic_grid(affine, images.shape, spacing)
    to_stack = np.linalg.inv(affine) @ grid.affine
    points = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing='ij'), -1)
    voxels = nibabel.affines.apply_affine(to_stack, points)
    expected = ndimage.map_coordinates(images.transpose(2, 1, 0), np.moveaxis(voxels, -1, 0), order=1, mode='nearest')
    resampled = to_grid(images, affine, grid)
    assert (resampled.dtype, resampled.shape) == (np.float32, grid.shape)
    np.testing.assert_allclose(resampled, expected, atol=2e-4)
