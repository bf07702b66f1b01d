"""The grids of poses are those of the map, at the control points and between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_bruno.networks import DisplacedGrid
from tfp_bruno.registration import CanonicalSpace, Frame, SmoothBasis, SubjectMap
from tfp_bruno.runs.slice_places import plane_poses, slice_poses

SHAPE = (14, 17, 13)
SPACE = CanonicalSpace(
    Frame(np.array([3.0, 4.0, 3.5]), np.array([6.0, 8.5, 6.0])), SmoothBasis(SHAPE, (2.0, 1.5, 1.5), 12.0, 1.0, 20)
)
PIXELS = [np.arange(size) for size in SHAPE[1:]]
CONTROL = 5


def make_subject(seed, share):
    rng = np.random.default_rng(seed)
    frame = Frame(SPACE.frame.size * np.exp(0.1 * rng.normal(size=3)), SPACE.frame.place + rng.normal(size=3))
    return SubjectMap(frame, share * rng.normal(size=(3, SPACE.basis.size)))


def grid_of(subject, slices, control_size=CONTROL):
    """The grid `[3, n, H, W]` of the poses of slices."""
    poses = slice_poses(SPACE, subject, slices, control_size)
    assert poses.shape == (len(slices), 12 + 3 * control_size**2)
    assert poses.dtype == np.float32
    grid = DisplacedGrid(SHAPE[1:], control_size)(poses).numpy()
    assert grid.shape[1] == 1
    return np.moveaxis(grid[:, 0], -1, 0)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99), slices=st.lists(st.integers(0, SHAPE[0] - 1), min_size=1, max_size=4), n=st.integers(2, 5)
)
def test_grids_without_displacement_are_exact(seed, slices, n):
    subject = make_subject(seed, 0.0)
    expected = SPACE.grid(subject, [np.array(slices), *PIXELS])
    np.testing.assert_allclose(grid_of(subject, np.array(slices), n), expected, atol=2e-5)


def test_identity_has_the_planes_of_the_volume():
    np.testing.assert_allclose(grid_of(SPACE.identity, np.arange(14)), np.indices(SHAPE), atol=1e-5)


@pytest.mark.parametrize('seed', range(3))
def test_grids_are_exact_at_the_control_points(seed):
    subject, slices = make_subject(seed, 1.0), np.array([3, 11, 6])
    # Of 17 and 13 pixels, every fourth and every third is a control point.
    grid, points = grid_of(subject, slices)[:, :, ::4, ::3], [np.arange(0, 17, 4), np.arange(0, 13, 3)]
    np.testing.assert_allclose(grid, SPACE.grid(subject, [slices, *points]), atol=1e-4)


@pytest.mark.parametrize('seed', range(3))
def test_grids_between_control_points_are_near_the_map(seed):
    subject, slices = make_subject(seed, 1.0), np.array([3, 11, 6])
    expected = SPACE.grid(subject, [slices, *PIXELS])
    errors = [np.abs(grid_of(subject, slices, n) - expected).max() for n in (3, 5, 13)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.3
    assert errors[2] < 0.06


def test_the_normal_is_the_distance_of_slices():
    subject = make_subject(4, 0.0)
    matrices = slice_poses(SPACE, subject, np.array([5]), 2)[0, :12].reshape(3, 4)
    steps = SPACE.frame.size / subject.frame.size
    np.testing.assert_allclose(matrices[:, :3], np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]) * steps[:, None], rtol=1e-5)


def test_no_slices_have_no_poses():
    assert slice_poses(SPACE, SPACE.identity, np.zeros(0, int), 3).shape == (0, 39)


@pytest.mark.parametrize('seed', range(3))
def test_planes_of_any_direction_have_the_places_of_the_map(seed):
    subject, rng = make_subject(seed, 1.0), np.random.default_rng(seed)
    plane = np.concatenate([0.5 * rng.normal(size=(3, 3)), [[6], [8], [6]]], axis=1)
    grid = DisplacedGrid(SHAPE[1:], CONTROL)(plane_poses(SPACE, subject, plane[np.newaxis], CONTROL)).numpy()[0, 0]
    # At the control points, by the definition of the map, point by point.
    for row, column in np.ndindex(CONTROL, CONTROL):
        pixel = [4 * row - 8, 3 * column - 6, 0, 1]
        point = [np.array([at]) for at in plane @ pixel]
        np.testing.assert_allclose(grid[4 * row, 3 * column], SPACE.grid(subject, point)[:, 0, 0, 0], atol=1e-4)
