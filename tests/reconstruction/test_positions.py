"""Positions are the nearest ones or an error; they are never clamped."""

import logging as standard_logging
import math
import pathlib

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import Volume, extract_stack, get_definition
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import check_positions, scan_slices_to_positions

FETAL = get_definition('fetal')


def scan_of(num_slices, spacing, axcodes='RAS'):
    """Returns a scan of `num_slices` axial slices, turned to the given axes, and its stack."""
    data = np.random.default_rng(0).uniform(1, 9, (12, 14, num_slices)).astype(np.float32)
    image = nibabel.Nifti1Image(data, np.diag([10.0, 10.0, spacing, 1.0]))
    change = nibabel.orientations.axcodes2ornt(axcodes)
    image = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), change))
    volume = Volume(image.get_fdata(dtype=np.float32), image.affine, pathlib.Path('scan.nii.gz'))
    return volume, extract_stack(volume, FETAL)


def test_check_positions_sorts_and_merges_with_a_warning(caplog):
    with caplog.at_level(standard_logging.WARNING, logger='absl'):
        assert check_positions([70, 10, 70], FETAL) == (10, 70)
    assert '`slices`: slices that are given twice' in caplog.text
    assert check_positions([], FETAL) == ()


@pytest.mark.parametrize('position', [-1, 80, 1000])
def test_check_positions_refuses_positions_outside_the_stack(position):
    with pytest.raises(UserError, match=f'`slices`: {position} is outside the stack; give numbers from 0 to 79'):
        check_positions([10, position], FETAL)


@pytest.mark.parametrize('axcodes', ['RAS', 'LPI', 'SRA', 'AIL'])
def test_scan_slices_to_positions_matches_the_formula(axcodes):
    # 40 slices of 3 mm: the stack is the middle 78 mm in 80 parts, its first slice at 21.4875 mm from the lower edge.
    volume, stack = scan_of(40, 3.0, axcodes)
    for index in range(8, 32):
        upward = 39 - index if 'I' in axcodes else index
        # Halfway between two positions, the lower one.
        expected = math.ceil(((upward + 0.5) * 3.0 - 21.0) / 0.975 - 1.001)
        assert scan_slices_to_positions([index], volume, stack, 'LPS') == (expected,)


def test_scan_slices_to_positions_names_the_range_of_slices_inside():
    volume, stack = scan_of(40, 3.0)
    assert scan_slices_to_positions([7, 32], *scan_of(40, 3.0), 'LPS') == (1, 78)
    for index in (-1, 0, 6, 33, 39, 40):
        with pytest.raises(UserError, match=rf'{index} is outside .*scan\.nii\.gz; give numbers from 7 to 32'):
            scan_slices_to_positions([index], volume, stack, 'LPS')


def test_scan_slices_to_positions_refuses_two_slices_for_one_position():
    volume, stack = scan_of(1000, 0.2)
    with pytest.raises(UserError, match=r'`scan_slices`: 500 and 501 are both nearest to position 40'):
        scan_slices_to_positions([500, 501], volume, stack, 'LPS')
    assert scan_slices_to_positions([500, 500], volume, stack, 'LPS') == (40,)
