"""A scan whose header has the axes of the mother is turned to those of the anatomy, and never mirrored."""

import itertools
import pathlib

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tfp_bruno.data import Volume, get_definition
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction.scan_axes import check_scan_axes, turned_scan

FETAL = get_definition('fetal')
CODES = [
    ''.join(letters) for pairs in itertools.permutations(['LR', 'PA', 'IS']) for letters in itertools.product(*pairs)
]


def oblique(signs=(1, 1, 1), spacing=(1.1, 1.1, 3.3), slice_axis=None):
    rotation = Rotation.from_euler('xyz', [20, -70, 130], degrees=True).as_matrix()
    affine = nibabel.affines.from_matvec(rotation * np.multiply(signs, spacing), [-30, 50, 110])
    data = np.random.default_rng(0).uniform(0, 9, (6, 7, 8)).astype(np.float32)
    return Volume(data, affine, pathlib.Path('scan.nii'), slice_axis)


@pytest.mark.parametrize('axes', CODES)
def test_turned_scan_has_the_given_axes_and_a_rigid_way_back(axes):
    right_handed = np.linalg.det(nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(axes), (2, 2, 2)))
    scan = oblique((np.sign(right_handed), 1, 1))
    turned, world = turned_scan(scan, axes, FETAL)
    assert nibabel.aff2axcodes(turned.affine) == tuple(axes)
    np.testing.assert_allclose(world @ turned.affine, scan.affine, atol=1e-9)
    np.testing.assert_allclose(world[:3, :3] @ world[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(world[:3, :3]) == pytest.approx(1)
    with pytest.raises(UserError, match=f'`scan_axes={axes}`: would mirror scan.nii'):
        turned_scan(oblique((-np.sign(right_handed), 1, 1)), axes, FETAL)


@pytest.mark.parametrize(
    ('scan', 'expected'),
    [
        (oblique(), 'LPS'),
        (oblique((1, 1, -1)), 'LAS'),
        (oblique(spacing=(1, 4, 1)), 'LSA'),
        (oblique(spacing=(1, 1, 1)), 'LPS'),
        (oblique(slice_axis=0), 'SLP'),
    ],
)
def test_turned_scan_of_unknown_axes_has_slices_along_the_axis_of_acquisition(scan, expected):
    turned, _ = turned_scan(scan, 'unknown', FETAL)
    assert ''.join(nibabel.aff2axcodes(turned.affine)) == expected


def test_turned_scan_of_the_header_is_the_scan():
    scan = oblique()
    turned, world = turned_scan(scan, 'header', FETAL)
    assert turned is scan
    np.testing.assert_array_equal(world, np.eye(4))


@pytest.mark.parametrize('axes', ['', 'RA', 'RAR', 'RLS', 'ras', 'RASP', 'XYZ', 'auto'])
def test_check_scan_axes_refuses_other_values(axes):
    with pytest.raises(UserError, match=f'`scan_axes={axes}`: give header, unknown, or'):
        check_scan_axes(axes)


def test_check_scan_axes_accepts_all_directions():
    for axes in ('header', 'unknown', *CODES):
        check_scan_axes(axes)
