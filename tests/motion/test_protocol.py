"""Geometry and timing of stacks."""

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.errors import UserError
from tfp_bruno.motion.protocol import STACK_AXES, StackProtocol, batch_order, profile_offsets, stack_grid


def test_batch_order_spreads_slices_and_takes_even_batches_first():
    # Three batches of slices three apart; 0 and 2 come before 1.
    np.testing.assert_array_equal(batch_order(9, 3, 2), [0, 2, 1, 0, 2, 1, 0, 2, 1])
    np.testing.assert_array_equal(batch_order(5, 1, 1), range(5))


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 6))
def test_batch_order_has_no_gaps_and_full_batches(num_slices, simultaneous, interleave):
    order = batch_order(num_slices, simultaneous, interleave)
    counts = np.bincount(order, minlength=-(-num_slices // simultaneous))
    assert len(order) == num_slices
    assert counts.min() >= 1 and counts.max() <= simultaneous


@pytest.mark.parametrize('plane', STACK_AXES)
def test_stack_grid_covers_the_box_along_the_axes_of_its_plane(plane):
    corners = np.array([[-40.0, -50.0, 10.0], [30.0, 60.0, 80.0]])
    protocol = StackProtocol(thickness=4.0, spacing=5.0, pixel_spacing=1.5, margin=7.0)
    shape, affine = stack_grid(plane, corners, protocol)
    assert ''.join(nibabel.aff2axcodes(affine)) == STACK_AXES[plane]
    assert np.linalg.det(affine) > 0
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(affine), [1.5, 1.5, 5.0])
    ends = nibabel.affines.apply_affine(affine, [[-0.5] * 3, np.array(shape) - 0.5])
    assert (ends.min(axis=0) <= corners[0] - 7.0 + 1e-9).all() and (ends.max(axis=0) >= corners[1] + 7.0 - 1e-9).all()
    np.testing.assert_allclose(ends.mean(axis=0), corners.mean(axis=0))


def test_stack_grid_refuses_too_many_voxels():
    with pytest.raises(UserError, match=r'pixel_spacing=0\.1'):
        stack_grid('axial', np.array([[0.0] * 3, [400.0] * 3]), StackProtocol(pixel_spacing=0.1))


def test_profile_offsets_have_the_width_of_the_profile():
    offsets, weights = profile_offsets(4.0, 'gaussian', 0.05)
    # A Gaussian cut off at 3.5 standard deviations has 99.5 % of its variance.
    np.testing.assert_allclose(np.sqrt(weights @ offsets**2), 4.0 / 2.3548, rtol=0.01)
    offsets, weights = profile_offsets(4.0, 'rectangular', 0.05)
    np.testing.assert_allclose(np.sqrt(weights @ offsets**2), 4.0 / np.sqrt(12), rtol=1e-3)
    assert profile_offsets(1.0, 'rectangular', 1.0)[0].tolist() == [0.0]


@pytest.mark.parametrize(
    ('values', 'named'),
    [
        ({'thickness': 9.0}, '`thickness`'),
        ({'thickness': 0.5}, '`thickness`'),
        ({'spacing': float('nan')}, '`spacing=nan`'),
        ({'pixel_spacing': 0.0}, '`pixel_spacing=0`'),
        ({'simultaneous': 0}, '`simultaneous=0`'),
        ({'interleave': 0}, '`interleave=0`'),
        ({'margin': -1.0}, '`margin=-1`'),
        ({'profile': 'box'}, '`profile=box`'),
    ],
)
def test_protocol_bad_value_is_named(values, named):
    with pytest.raises(UserError, match=named):
        StackProtocol(**values)
