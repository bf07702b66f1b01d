"""A stack is placed about an anatomy of any place and turn, in mm."""

import dataclasses

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tfp_bruno.data import Box, BoxRange, get_definition
from tfp_bruno.data.anatomy_placement import box_along, slice_directions, stack_about, warn_of_depth
from tfp_bruno.errors import collect_warnings

FETAL = get_definition('fetal')
MEDIAN = Box(np.array([108.0, 151, 124]), np.array([70.0, 90, 60]), np.array([2.0, -3, 6]), np.zeros(3))
SEEN = BoxRange(MEDIAN, MEDIAN, MEDIAN)


def cuboid(sides, rotation, middle):
    """Returns the voxels of a cuboid of sides in mm, and their affine: a grid of 1 x 1 x 2 mm along its own axes."""
    inside = np.zeros((120, 120, 60), bool)
    low, high = (np.array([120, 120, 120]) - sides) / 2, (np.array([120, 120, 120]) + sides) / 2
    inside[tuple(slice(int(a / s), int(b / s)) for a, b, s in zip(low, high, (1, 1, 2), strict=True))] = True
    matrix = rotation * [1, 1, 2]
    centre = np.argwhere(inside).mean(axis=0)
    return inside, nibabel.affines.from_matvec(matrix, middle - matrix @ centre)


@given(angles=st.tuples(*[st.floats(-180, 180)] * 3))
def test_slice_directions_are_a_rotation_whose_third_axis_is_the_normal_of_sheared_slices(angles):
    rotation = Rotation.from_euler('xyz', angles, degrees=True).as_matrix()
    affine = nibabel.affines.from_matvec(rotation @ np.array([[1.1, 0.1, 0.4], [0, 1.2, 0.3], [0, 0, 3.0]]))
    directions = slice_directions(affine)
    np.testing.assert_allclose(directions, rotation, atol=1e-9)


def test_box_along_measures_a_turned_cuboid():
    rotation = Rotation.from_euler('zyx', [33, 5, -8], degrees=True).as_matrix()
    inside, affine = cuboid(np.array([40, 60, 48]), rotation, np.array([5.0, -70, 200]))
    box, middle = box_along(rotation, inside, affine)
    np.testing.assert_allclose(box.foreground, [40, 60, 48])
    np.testing.assert_allclose(middle, [5, -70, 200], atol=1e-9)
    # At 45 degrees in the plane, the diagonals of the cuboid, less corners of under 1 % of the largest area.
    turned = rotation @ Rotation.from_euler('z', 45, degrees=True).as_matrix()
    box, middle = box_along(turned, inside, affine)
    np.testing.assert_allclose(box.foreground, [100 / np.sqrt(2), 100 / np.sqrt(2), 48], atol=2)
    np.testing.assert_allclose(middle, [5, -70, 200], atol=1)


def test_box_along_leaves_out_stray_voxels():
    inside, affine = cuboid(np.array([40, 60, 48]), np.eye(3), np.zeros(3))
    inside[0, 0, 0] = True
    box, middle = box_along(np.eye(3), inside, affine)
    np.testing.assert_allclose(box.foreground, [40, 60, 48])
    np.testing.assert_allclose(middle, 0, atol=1e-9)


@given(angle=st.floats(-180, 180), middle=st.tuples(*[st.floats(-200, 200)] * 3))
def test_stack_about_has_the_anatomy_where_the_median_training_volume_has_it(angle, middle):
    directions = Rotation.from_euler('zx', [angle, 20], degrees=True).as_matrix()
    affine = stack_about(MEDIAN, np.array(middle), directions, SEEN, FETAL)
    spacing = np.array([2.5, 2.5, 0.65 * 124 / 80])
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(affine), spacing)
    found = nibabel.affines.apply_affine(np.linalg.inv(affine), middle)
    expected = (np.array([64, 64, 80]) - 1) / 2 + MEDIAN.offset / spacing
    np.testing.assert_allclose(found[:2], expected[:2], atol=1e-6)
    assert abs(found[2] - expected[2]) < 0.5 + 1e-6


@given(length=st.floats(70, 80.6), middle=st.floats(-100, 100))
def test_stack_about_holds_an_anatomy_that_is_no_longer_than_the_stack(length, middle):
    box = dataclasses.replace(MEDIAN, foreground=np.array([70, 90, length]))
    affine = stack_about(box, np.array([0, 0, middle]), np.eye(3), SEEN, FETAL)
    step = affine[2, 2]
    assert affine[2, 3] - step <= middle - length / 2
    assert affine[2, 3] + 80 * step >= middle + length / 2


def test_stack_about_has_the_same_planes_in_both_directions():
    middle, flip = np.array([3.0, 4, 5]), np.diag([1.0, -1, -1])
    forth, back = (stack_about(MEDIAN, middle, directions, SEEN, FETAL) for directions in (np.eye(3), flip))
    step = forth[2, 2]
    np.testing.assert_allclose((forth[2, 3] - back[2, 3]) / step, round((forth[2, 3] - back[2, 3]) / step), atol=1e-9)


@pytest.mark.parametrize(('length', 'expected'), [(80.0, []), (95.0, ['95 mm long along its slices'])])
def test_warn_of_depth_names_an_anatomy_longer_than_the_stack(length, expected):
    box = dataclasses.replace(MEDIAN, foreground=np.array([70, 90, length]))
    affine = stack_about(box, np.zeros(3), np.eye(3), SEEN, FETAL)
    with collect_warnings() as warnings:
        warn_of_depth(box, affine, 80, 'scan.nii')
    assert len(warnings) == len(expected)
    assert all(text in warning for text, warning in zip(expected, warnings, strict=True))
