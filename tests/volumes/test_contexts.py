"""Slices of a scan: chosen in three ways, masked, and kept as they were read."""

import pathlib

import numpy as np
import pytest

from tfp_bruno.data import Volume, extract_stack, get_definition
from tfp_bruno.errors import UserError
from tfp_bruno.volumes import SliceSelection, contexts_of_scan

FETAL = get_definition('fetal')


def test_the_contexts_are_slices_of_the_scan(oblique_scan):
    scan, _ = oblique_scan
    contexts = contexts_of_scan(scan, SliceSelection(slices=(50, 30)), FETAL)
    stack = extract_stack(scan, FETAL)
    assert contexts.positions == (30, 50)
    np.testing.assert_array_equal(contexts.images, stack.images[[30, 50]])
    np.testing.assert_array_equal(contexts.affine, stack.affine)


def test_three_ways_lead_to_the_same_slices(oblique_scan):
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


def test_along_an_axis_of_the_world_a_position_is_that_coordinate():
    data = np.random.default_rng(0).uniform(1, 9, (20, 20, 40)).astype(np.float32)
    affine = np.diag([8.0, 8.0, 3.0, 1.0])
    affine[:3, 3] = [-76, -76, 100]
    scan = Volume(data, affine, pathlib.Path('scan.nii.gz'))
    stack = extract_stack(scan, FETAL)
    contexts = contexts_of_scan(scan, SliceSelection(world_positions=(150.0, 170.0)), FETAL)
    z = stack.affine[2, 3] + stack.affine[2, 2] * np.array(contexts.positions)
    np.testing.assert_allclose(z, [150, 170], atol=stack.affine[2, 2] / 2 + 1e-6)
    low, high = stack.affine[2, 3] - stack.affine[2, 2] / 2, stack.affine[2, 3] + stack.affine[2, 2] * 79.5
    with pytest.raises(UserError, match=f'--world_positions: 90 is outside .* from {low:.2f} to {high:.2f}'):
        contexts_of_scan(scan, SliceSelection(world_positions=(90.0,)), FETAL)
    with pytest.raises(UserError, match=r'150 and 150\.01 are both nearest'):
        contexts_of_scan(scan, SliceSelection(world_positions=(150.0, 150.01)), FETAL)


def test_what_is_outside_the_mask_is_background(oblique_scan):
    scan, _ = oblique_scan
    mask = scan.data > 300
    contexts = contexts_of_scan(scan, SliceSelection(slices=(45,)), FETAL, mask)
    masked = Volume(np.where(mask, scan.data, 0).astype(np.float32), scan.affine, scan.path)
    expected = extract_stack(masked, FETAL).images
    np.testing.assert_allclose(contexts.stack_images, expected, atol=1e-5)
    assert not contexts.given[0].data[scan.data[:, [30]] == 0].any()


def test_one_way_only():
    for ways in ({}, {'slices': (1,), 'scan_slices': (1,)}, {'scan_slices': (1,), 'world_positions': (1.0,)}):
        with pytest.raises(UserError, match='give one of them'):
            SliceSelection(**ways)
    with pytest.raises(UserError, match='--stack: is missing'):
        contexts_of_scan(None, SliceSelection(slices=(10,)), FETAL)
    assert contexts_of_scan(None, SliceSelection(slices=()), FETAL).positions == ()
