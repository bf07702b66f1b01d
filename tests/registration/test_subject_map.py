"""Grids by hand, and warps that undo a known map."""

import numpy as np
import pytest

from tfp_bruno.registration import Frame, SubjectMap


def all_voxels(space):
    return [np.arange(size) for size in space.basis.shape]


def test_identity_maps_voxels_to_themselves(space):
    np.testing.assert_allclose(space.grid(space.identity, all_voxels(space)), np.indices(space.basis.shape), atol=1e-5)


def test_grid_is_scaled_about_the_place_then_displaced(space, make_subject):
    subject, points = make_subject(5), [np.array([1.0, 7.5]), np.array([3.0, 4.25, 11.0]), np.array([9.0])]
    scales = space.frame.size / subject.frame.size
    start = [c + (p - o) * s for c, p, o, s in zip(space.frame.place, points, subject.frame.place, scales, strict=True)]
    functions = space.basis.at(start)
    expected = np.stack(np.meshgrid(*start, indexing='ij'))
    for axis, side in enumerate(space.basis.voxel_size):
        expected[axis] += functions @ subject.coefficients[axis] / side
    np.testing.assert_allclose(space.grid(subject, points), expected, atol=1e-4)


@pytest.mark.parametrize('seed', range(3))
def test_warp_undoes_the_map(space, blobs, make_subject, make_stack, seed):
    subject = make_subject(seed, 0.5)
    stack = make_stack(blobs, subject)
    before, after = (np.abs(each - blobs)[2:-2, 2:-2, 2:-2] for each in (stack, space.warp(stack, subject)))
    # What is left is the blur of two interpolations.
    assert after.mean() < 0.4 * before.mean()
    assert after.max() < 0.06


def test_warp_inverts_the_grid(space, make_subject):
    # A volume of its own coordinates is mapped back to them.
    subject, shape = make_subject(7, 0.5), space.basis.shape
    grid, inner = space.grid(subject, all_voxels(space)), (slice(3, -3),) * 3
    for axis in range(3):
        found = space.warp(grid[axis], subject)
        np.testing.assert_allclose(found[inner], np.indices(shape)[axis][inner], atol=0.12)


def test_warp_by_the_identity_changes_nothing(space, blobs):
    np.testing.assert_allclose(space.warp(blobs, space.identity), blobs, atol=1e-5)


def test_warp_is_nan_outside_the_stack(space):
    shifted = SubjectMap(Frame(space.frame.size, space.frame.place - [6, 0, 0]), space.identity.coefficients)
    found = space.warp(np.ones(space.basis.shape, np.float32), shifted)
    assert np.isnan(found[:6]).all()
    np.testing.assert_allclose(found[7:], 1, atol=1e-5)
