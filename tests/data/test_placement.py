"""The stack is placed where the training data have the anatomy, or the volume is refused."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfp_bruno.data import Volume, extract_stack, get_definition
from tfp_bruno.data.frame import common_frame
from tfp_bruno.data.placement import check_in_plane
from tfp_bruno.errors import UserError, collect_warnings

FETAL = dataclasses.replace(get_definition('fetal'), num_slices=40, image_size=32, context_slices={})
SHAPE = (54, 75, 62)


def ellipsoid(radii, centre=(0, 0, 0), shape=SHAPE):
    """An ellipsoid with some structure, radii and centre in voxels of 2 mm from the middle, `[X, Y, Z]` in RAS."""
    grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing='ij'), -1) - centre
    inside = ((grid / radii) ** 2).sum(-1) < 1
    return (inside * (450 + 350 * np.sin(grid @ [0.31, 0.17, 0.23]))).astype(np.float32)


def volume(data, shift=(0, 0, 0), name='scan.nii.gz', spacing=2.0):
    """A volume whose box, before it was changed by `shift` voxels at its low ends, is centred on world 0."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(SHAPE) - 1) / 2 + spacing * np.array(shift)
    return Volume(data, affine, pathlib.Path(name))


@pytest.fixture(scope='module')
def frame():
    """The frame of eight training volumes in one world."""
    rng = np.random.default_rng(0)
    stacks = [
        extract_stack(volume(ellipsoid(rng.uniform([14, 18, 16], [22, 27, 24]), rng.uniform(-3, 3, 3))), FETAL)
        for _ in range(8)
    ]
    return common_frame(
        [stack.affine for stack in stacks],
        [stack.slice_thickness for stack in stacks],
        [stack.box for stack in stacks],
        stacks[0].images.shape,
    )


@pytest.fixture(scope='module')
def scattered(frame):
    """The frame of volumes that share no world."""
    return dataclasses.replace(frame, spread=80.0)


@pytest.fixture(scope='module')
def plain():
    data = ellipsoid((18, 23, 20), (1, -2, 2))
    return data, extract_stack(volume(data), FETAL)


def placed(scan, frame):
    """The stack of a scan, and the warnings about it."""
    with collect_warnings() as warnings:
        return extract_stack(scan, FETAL, frame=frame), warnings


def test_place_stack_keeps_a_volume_like_the_training_data(plain, frame, scattered):
    data, expected = plain
    for seen in (frame, scattered):
        stack, warnings = placed(volume(data), seen)
        assert warnings == []
        np.testing.assert_array_equal(stack.images, expected.images)
        np.testing.assert_array_equal(stack.affine, expected.affine)


@given(st.tuples(*[st.tuples(st.integers(0, 30), st.integers(0, 30))] * 3))
@example(((0, 0), (0, 2), (0, 1)))
@settings(max_examples=25, deadline=None)
def test_place_stack_is_invariant_to_padding_in_a_shared_world(plain, frame, widths):
    data, expected = plain
    low = [-width[0] for width in widths]
    stack, warnings = placed(volume(np.pad(data, widths), low), frame)
    assert len(warnings) <= 1
    # One voxel is within the rounding of a resampled file; along the slices, the stack is stretched by it.
    added = [first + last for first, last in widths]
    if max(added) > 1:
        assert 'as if padded, cropped or off centre' in warnings[0]
        np.testing.assert_allclose(stack.affine, expected.affine, atol=2.0 if added[2] == 1 else 1e-6)
        if added[2] != 1:
            np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)


@pytest.mark.parametrize('widths', [((0, 0), (0, 0), (20, 20)), ((0, 0), (0, 50), (0, 0)), ((30, 0), (0, 0), (0, 30))])
def test_place_stack_is_invariant_to_padding_at_one_end_or_both(plain, scattered, widths):
    data, expected = plain
    stack, warnings = placed(volume(np.pad(data, widths), [-width[0] for width in widths]), scattered)
    assert len(warnings) == 1
    np.testing.assert_allclose(stack.affine, expected.affine, atol=1e-6)
    np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)


def test_place_stack_uneven_padding_gets_the_median_place(plain, scattered):
    data, expected = plain
    stack, warnings = placed(volume(np.pad(data, ((0, 0), (0, 0), (13, 40))), (0, 0, -13)), scattered)
    assert len(warnings) == 1
    # The step is right, and the middle as far off as the anatomy is from its usual place.
    np.testing.assert_allclose(stack.affine[:3, :3], expected.affine[:3, :3], atol=1e-6)
    off = stack.affine[2, 3] - expected.affine[2, 3]
    assert off == pytest.approx(expected.box.offset[2] - scattered.boxes.median.offset[2], abs=1e-6)


def test_place_stack_extends_a_tight_crop_to_the_training_extent(plain, frame):
    data, expected = plain
    low, high = (np.array([f(i) for i in np.nonzero(data)]) for f in (np.min, np.max))
    part = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
    stack, warnings = placed(volume(data[part], low), frame)
    assert len(warnings) == 1
    np.testing.assert_allclose(stack.affine, expected.affine, atol=1e-6)
    np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)


@pytest.mark.parametrize('blank', [False, True])
def test_place_stack_refuses_a_part_of_the_anatomy(plain, frame, blank):
    data, _ = plain
    part = np.where(np.arange(SHAPE[2]) < 34, data, 0) if blank else data[:, :, 20:42]
    with pytest.raises(UserError, match=r'scan\.nii\.gz: its anatomy is cut off at the first or last of its slices'):
        placed(volume(part.astype(np.float32), (0, 0, 0 if blank else 20)), frame)


def test_place_stack_refuses_an_unmasked_scan(plain, frame):
    noise = np.random.default_rng(0).gamma(2, 60, SHAPE).astype(np.float32)
    with pytest.raises(UserError, match='give a `mask` if something else is around it'):
        placed(volume(plain[0] + noise), frame)


@pytest.mark.parametrize(('spacing', 'words'), [(0.2, 'check the voxel size'), (20.0, 'check the voxel size')])
def test_place_stack_refuses_a_wrong_voxel_size(plain, frame, spacing, words):
    with pytest.raises(UserError, match=words):
        placed(volume(plain[0], spacing=spacing), frame)


def test_place_stack_warns_of_an_unusual_size(frame):
    stack, warnings = placed(volume(ellipsoid((14.2, 18, 16))), frame)
    assert len(warnings) == 1
    assert 'its anatomy is 56 mm long along its columns, in the training volumes it is' in warnings[0]
    np.testing.assert_allclose(stack.affine, extract_stack(volume(ellipsoid((14.2, 18, 16))), FETAL).affine)


def test_place_stack_keeps_extents_that_vary_in_the_training_data(plain, frame):
    lowest = dataclasses.replace(frame.boxes.lowest, extent=0.7 * frame.boxes.lowest.extent)
    seen = dataclasses.replace(frame, boxes=dataclasses.replace(frame.boxes, lowest=lowest))
    data = np.pad(plain[0], ((0, 0), (0, 0), (6, 6)))
    stack, warnings = placed(volume(data, (0, 0, -6)), seen)
    assert len(warnings) == 1
    assert 'is 148 mm long along its slices, the training volumes are 87 to 124 mm' in warnings[0]
    np.testing.assert_allclose(stack.affine, extract_stack(volume(data, (0, 0, -6)), FETAL).affine)


def test_check_in_plane_refuses_slices_of_another_world(plain, frame):
    images = plain[1].images[[15, 20, 25]]
    check_in_plane(images, FETAL.pixel_spacing, frame.boxes, 'slices')
    check_in_plane(images, FETAL.pixel_spacing, None, 'slices')
    with pytest.raises(UserError, match=r'slices: its anatomy lies .* mm off the middle of the field of view'):
        check_in_plane(np.roll(images, 8, axis=2), FETAL.pixel_spacing, frame.boxes, 'slices')
    with pytest.raises(UserError, match=r'its anatomy is .* mm long along its rows'):
        check_in_plane(np.repeat(images, 2, axis=1)[:, 16:48], 2 * FETAL.pixel_spacing, frame.boxes, 'slices')
