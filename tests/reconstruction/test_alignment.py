"""Scans are aligned with the model's stack: reference, plane, tilt and thickness."""

import pathlib

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import TrainingFrame, Volume, extract_stack, get_definition, stack_affine
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.reconstruction import SliceSelection, contexts_of_scan
from tfp_bruno.reconstruction.alignment import check_thickness, reference_affine

FETAL = get_definition('fetal')


def test_reference_affine_is_that_of_the_reference_or_the_run(oblique_scan):
    scan, _ = oblique_scan
    frame = TrainingFrame(stack_affine(scan, FETAL), 3.0, 2.0)

    def run_info(frame):
        return RunInfo(None, 'scans', False, 6, seed=0, preset='cpu', frame=frame)

    np.testing.assert_allclose(reference_affine(run_info(None), FETAL, scan), frame.affine)
    np.testing.assert_allclose(reference_affine(run_info(frame.to_json()), FETAL, None), frame.affine)
    apart = TrainingFrame(frame.affine, 100.0, 2.0)
    for info in (run_info(None), run_info(apart.to_json())):
        with pytest.raises(UserError, match='`reference`: is missing'):
            reference_affine(info, FETAL, None)


def test_check_thickness_warns_beyond_a_quarter(oblique_scan):
    scan, _ = oblique_scan
    frame = TrainingFrame(stack_affine(scan, FETAL), 3.0, 2.0)

    def run_info(frame):
        return RunInfo(None, 'scans', False, 6, seed=0, preset='cpu', frame=frame)

    with collect_warnings() as warnings:
        check_thickness(frame, 2.0, 'scan.nii.gz')
        check_thickness(frame, 2.4, 'scan.nii.gz')
        check_thickness(None, 9.0, 'scan.nii.gz')
    assert warnings == []
    with collect_warnings() as warnings:
        check_thickness(frame, 2.6, 'scan.nii.gz')
    assert len(warnings) == 1
    assert 'scan.nii.gz: slices are 2.6 mm thick, those of the training data 2 mm' in warnings[0]


@pytest.mark.parametrize('header', [True, False])
def test_check_acquired_axis_refuses_own_slices_of_another_plane(upright_scan, header):
    spacing = (1.0, 1.0, 1.0, 1.0) if header else (1.0, 4.0, 1.0, 1.0)
    coronal = Volume(upright_scan.data, np.diag(spacing), pathlib.Path('cor.nii.gz'), 1 if header else None)
    with pytest.raises(
        UserError, match=r'`scan_slices`: the slices of cor\.nii\.gz are coronal, those of the model axial'
    ):
        contexts_of_scan(coronal, SliceSelection(scan_slices=(50,)), FETAL)
    with collect_warnings() as warnings:
        contexts_of_scan(coronal, SliceSelection(slices=(50,)), FETAL)
    assert len(warnings) == 1
    assert 'the axial planes of the model are interpolated across them' in warnings[0]


def test_check_acquired_axis_warns_of_thick_voxels_whatever_the_header_says(upright_scan):
    scan = Volume(upright_scan.data, np.diag([1.0, 3.0, 1.0, 1.0]), pathlib.Path('scan.nii.gz'), 2)
    with collect_warnings() as warnings:
        contexts_of_scan(scan, SliceSelection(scan_slices=(50,)), FETAL)
    assert [message for message in warnings if 'its slices are coronal, 3 mm apart' in message]


def test_check_tilt_reads_slightly_tilted_planes_and_refuses_others(upright_scan):
    affine = extract_stack(upright_scan, FETAL).affine
    centre = affine @ [31.5, 31.5, 39.5, 1]

    def tilted(degrees):
        turn = Rotation.from_euler('x', degrees, degrees=True).as_matrix()
        return nibabel.affines.from_matvec(
            turn @ affine[:3, :3], centre[:3] - turn @ affine[:3, :3] @ [31.5, 31.5, 39.5]
        )

    # Slightly tilted planes are read in their own place: the scan is interpolated at their points.
    contexts = contexts_of_scan(upright_scan, SliceSelection(slices=(40,)), FETAL, affine=tilted(4))
    h, w = np.meshgrid(np.arange(64), np.arange(64), indexing='ij')
    points = np.stack([w, h, np.full_like(w, 40), np.ones_like(w)], -1) @ tilted(4).T
    voxels = points[..., :3] / [1.5, 1.5, 1.0]
    expected = ndimage.map_coordinates(upright_scan.data, voxels.transpose(2, 0, 1), order=1) / contexts.intensities[1]
    inside = (expected > 0.3) & (contexts.images[0] > 0.3)
    assert inside.sum() > 300
    np.testing.assert_allclose(contexts.images[0][inside], np.clip(expected[inside], 0, 1), atol=0.06)
    with pytest.raises(UserError, match=r'scan\.nii\.gz: is tilted by 20 degrees'):
        contexts_of_scan(upright_scan, SliceSelection(slices=(40,)), FETAL, affine=tilted(20))
