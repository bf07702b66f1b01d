"""Contexts are slices of a scan: chosen in three ways, masked, and kept as they were read."""

import dataclasses
import pathlib

import numpy as np
import pytest

from tfp_bruno.data import Volume, extract_stack, get_definition
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.reconstruction import SliceSelection, contexts_of_scan, no_contexts

FETAL = get_definition('fetal')
# Nothing is clipped.
UNCLIPPED = dataclasses.replace(FETAL, percentile=100.0)


def test_contexts_of_scan_are_slices_of_its_stack(oblique_scan):
    scan, _ = oblique_scan
    contexts = contexts_of_scan(scan, SliceSelection(slices=(50, 30)), FETAL)
    stack = extract_stack(scan, FETAL)
    assert contexts.positions == (30, 50)
    np.testing.assert_array_equal(contexts.images, stack.images[[30, 50]])
    np.testing.assert_array_equal(contexts.affine, stack.affine)


def test_slice_selection_gives_the_same_slices_in_three_ways(oblique_scan):
    scan, _ = oblique_scan
    by_index = contexts_of_scan(scan, SliceSelection(scan_slices=(22, 40)), FETAL)
    # Of the scan's slice 22 (axis 1 in the file), the coordinate along the planes' normal.
    normal = np.cross(scan.affine[:3, 0], scan.affine[:3, 2])
    normal *= np.sign(normal[2]) / np.linalg.norm(normal)
    millimetres = [float(normal @ (scan.affine @ [0, index, 0, 1])[:3]) for index in (22, 40)]
    by_world = contexts_of_scan(scan, SliceSelection(world_positions=millimetres), FETAL)
    by_position = contexts_of_scan(scan, SliceSelection(slices=by_index.positions), FETAL)
    assert by_world.positions == by_index.positions == by_position.positions
    for given, index in zip(by_index.given, (22, 40), strict=True):
        np.testing.assert_array_equal(given.data, scan.data[:, index : index + 1])
        np.testing.assert_allclose(given.affine[:3, 3], (scan.affine @ [0, index, 0, 1])[:3])


def test_world_positions_along_a_world_axis_are_its_coordinates():
    data = np.random.default_rng(0).uniform(1, 9, (20, 20, 40)).astype(np.float32)
    affine = np.diag([8.0, 8.0, 3.0, 1.0])
    affine[:3, 3] = [-76, -76, 100]
    scan = Volume(data, affine, pathlib.Path('scan.nii.gz'))
    stack = extract_stack(scan, FETAL)
    contexts = contexts_of_scan(scan, SliceSelection(world_positions=(150.0, 170.0)), FETAL)
    z = stack.affine[2, 3] + stack.affine[2, 2] * np.array(contexts.positions)
    np.testing.assert_allclose(z, [150, 170], atol=stack.affine[2, 2] / 2 + 1e-6)
    low, high = stack.affine[2, 3] - stack.affine[2, 2] / 2, stack.affine[2, 3] + stack.affine[2, 2] * 79.5
    with pytest.raises(UserError, match=f'`world_positions`: 90 is outside .* from {low:.2f} to {high:.2f}'):
        contexts_of_scan(scan, SliceSelection(world_positions=(90.0,)), FETAL)
    with pytest.raises(UserError, match=r'150 and 150\.01 are both nearest'):
        contexts_of_scan(scan, SliceSelection(world_positions=(150.0, 150.01)), FETAL)


def test_contexts_of_scan_outside_the_mask_are_background(oblique_scan):
    scan, _ = oblique_scan
    mask = scan.data > 300
    contexts = contexts_of_scan(scan, SliceSelection(slices=(45,)), FETAL, mask)
    masked = Volume(np.where(mask, scan.data, 0).astype(np.float32), scan.affine, scan.path)
    expected = extract_stack(masked, FETAL).images
    np.testing.assert_array_equal(contexts.stack[0], np.arange(80))
    np.testing.assert_allclose(contexts.stack[1], expected, atol=1e-5)
    assert not contexts.given[0].data[scan.data[:, [30]] == 0].any()


def test_slice_selection_refuses_none_or_several_ways():
    for ways in ({}, {'slices': (1,), 'scan_slices': (1,)}, {'scan_slices': (1,), 'world_positions': (1.0,)}):
        with pytest.raises(UserError, match='give one of them'):
            SliceSelection(**ways)
    assert SliceSelection(slices=(10,)).needs_scan
    assert not SliceSelection(slices=()).needs_scan


def test_no_contexts_has_no_positions():
    assert no_contexts(FETAL).positions == ()


def own_slice(stack, position):
    """The index of the scan's own slice that lies nearest to a position, for slices of 1 mm from z = 0 up."""
    return round(stack.affine[2, 3] + stack.affine[2, 2] * position)


def test_contexts_of_scan_leave_out_empty_slices_and_do_not_mix_them_in(upright_scan):
    stack = extract_stack(upright_scan, FETAL)
    # Only the own slices of four positions are filled.
    positions = (12, 30, 48, 66)
    data = np.zeros_like(upright_scan.data)
    for position in positions:
        index = own_slice(stack, position)
        data[:, :, index] = upright_scan.data[:, :, index]
    sparse = dataclasses.replace(upright_scan, data=data)
    with collect_warnings() as warnings:
        contexts = contexts_of_scan(sparse, SliceSelection(slices=(12, 20, 30, 66)), UNCLIPPED)
    assert contexts.positions == (12, 30, 66)
    assert 'scan.nii.gz: its slices at position 20 of the model are empty; they are left out.' in warnings
    # As bright as the own slices, not dimmed by their empty neighbours.
    for image, position in zip(contexts.images, contexts.positions, strict=True):
        own = dataclasses.replace(upright_scan, data=np.repeat(data[:, :, [own_slice(stack, position)]], 100, axis=2))
        expected = extract_stack(own, UNCLIPPED)
        np.testing.assert_allclose(
            image * contexts.intensities[1], expected.images[40] * expected.intensity_high, rtol=1e-4, atol=0.1
        )
    # Slices that were not acquired are not in the stack.
    assert set(contexts.stack[0]) <= {position + near for position in positions for near in (-1, 0, 1)}


def test_contexts_of_scan_refuse_slices_that_are_all_empty(upright_scan):
    data = upright_scan.data.copy()
    data[:, :, 40:60] = 0
    gap = dataclasses.replace(upright_scan, data=data)
    with pytest.raises(UserError, match=r'scan\.nii\.gz: all of its slices at positions 38, 42 are empty'):
        contexts_of_scan(gap, SliceSelection(slices=(38, 42)), FETAL)


def test_contexts_of_scan_of_a_partial_scan_lie_where_the_affine_places_them(upright_scan):
    whole = contexts_of_scan(upright_scan, SliceSelection(slices=(30, 40, 50)), UNCLIPPED)
    affine = upright_scan.affine.copy()
    affine[2, 3] = 30
    slab = Volume(upright_scan.data[:, :, 30:70], affine, pathlib.Path('slab.nii.gz'))
    part = contexts_of_scan(slab, SliceSelection(slices=(30, 40, 50)), UNCLIPPED, affine=whole.affine)
    np.testing.assert_allclose(part.images * part.intensities[1], whole.images * whole.intensities[1], rtol=1e-4)
    np.testing.assert_allclose(part.affine, whole.affine)
    with pytest.raises(UserError, match=r'slab\.nii\.gz: has no slice at position 10 of the model; it covers 15 to 64'):
        contexts_of_scan(slab, SliceSelection(slices=(10, 40)), FETAL, affine=whole.affine)
