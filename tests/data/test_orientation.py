"""Axes go to the nearest directions, and volumes are never mirrored."""

import itertools

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tfp_bruno.data.definitions import PLANES
from tfp_bruno.data.orientation import nearest_orientation, orient


@pytest.mark.parametrize('codes', PLANES.values(), ids=PLANES)
def test_nearest_orientation_matches_nibabel_along_the_axes(codes):
    data = np.arange(24).reshape(2, 3, 4)
    wanted = nibabel.orientations.axcodes2ornt(tuple(codes))
    for axes, flips in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        affine = nibabel.orientations.inv_ornt_aff(np.array([axes, flips]).T, data.shape)
        # Left-handed voxels, which nibabel would mirror into place, included.
        turned, new_affine = orient(data, affine, codes)
        expected = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted)
        np.testing.assert_array_equal(nearest_orientation(affine, codes), expected)
        assert nibabel.aff2axcodes(new_affine) == tuple(codes)
        value = turned[1, 2, 1] if turned.shape == (2, 3, 4) else turned[0, 0, 0]
        assert value in data


@pytest.mark.parametrize('seed', range(50))
def test_orient_never_mirrors_a_rotated_volume(seed):
    rng = np.random.default_rng(seed)
    flips = np.diag(rng.choice([-1.0, 1.0], 3))
    affine = nibabel.affines.from_matvec(Rotation.random(random_state=seed).as_matrix() @ flips, rng.normal(0, 9, 3))
    data = rng.normal(size=(3, 4, 5))
    turned, new_affine = orient(data, affine, 'LPS')
    assert np.linalg.det(new_affine[:3, :3]) > 0
    # Every voxel is where it was.
    for voxel in ((0, 0, 0), tuple(np.array(turned.shape) - 1)):
        world = nibabel.affines.apply_affine(new_affine, voxel)
        before = tuple(np.round(nibabel.affines.apply_affine(np.linalg.inv(affine), world)).astype(int))
        assert data[before] == turned[voxel]
    # No other way that keeps the handedness is nearer: each axis within 90 degrees, together the most.
    directions = new_affine[:3, :3]
    agreement = np.trace(np.diag([-1, -1, 1]) @ directions)
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            other = directions[:, axes] * signs
            if np.linalg.det(other) > 0:
                assert np.trace(np.diag([-1, -1, 1]) @ other) <= agreement + 1e-9
