"""A scan is placed about its anatomy, wherever that lies and however it is turned; results lie in the scan's world."""

import dataclasses
import json
import pathlib
import re

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tfp_bruno.data import BoxRange, TrainingFrame, Volume, get_definition
from tfp_bruno.data.frame import measure_box
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.reconstruction import (
    Placing,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    isotropic_grid,
    place_contexts,
    reconstruct,
    to_grid,
)

FETAL = dataclasses.replace(get_definition('fetal'), percentile=100.0)
SPACING = np.array([2.5, 2.5, 1.0])
# Of the canonical stack, (w, h, k, 1) to mm to the left, posterior and superior.
CANONICAL = nibabel.affines.from_matvec(np.diag(SPACING), -SPACING * (np.array([64, 64, 80]) - 1) / 2)
LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])


def anatomy(points):
    """Returns intensities at points `[..., 3]` in mm to the left, posterior and superior: no symmetry is left."""
    x, y, z = np.moveaxis(points, -1, 0)
    inside = (x / 32) ** 2 + (y / 42) ** 2 + (z / 28) ** 2 < 1
    blobs = [(14, 20, 8, 12, 0.5), (-12, -22, -6, 10, 0.4), (5, 8, -16, 9, -0.25), (-18, 12, 14, 8, -0.2)]
    value = 0.4 * np.ones_like(x)
    for a, b, c, width, height in blobs:
        value += height * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * width**2))
    return (inside * np.clip(value, 0.05, 1)).astype(np.float32)


def canonical_stack():
    indices = np.stack(np.meshgrid(*map(np.arange, (64, 64, 80)), indexing='ij'), -1)
    return anatomy(nibabel.affines.apply_affine(CANONICAL, indices)).transpose(2, 1, 0)


def frame_of(stack):
    box = dataclasses.replace(measure_box(stack.transpose(2, 1, 0), SPACING), extent=np.array([160, 160, 80 / 0.65]))
    return TrainingFrame(LPS_TO_RAS @ CANONICAL, 100.0, 2.0, BoxRange(box, box, box))


@pytest.fixture
def model(make_locating_model):
    stack = canonical_stack()
    model = make_locating_model(stack)
    model.definition = FETAL
    model.info = dataclasses.replace(model.info, frame=frame_of(stack).to_json())
    # An independent score of places: the sum of squared differences from the canonical stack.
    model.log_posterior = lambda images, slices, coarse=False: -float(np.square(images - stack[slices]).sum()) / 0.2
    return model


def scan_of(to_anatomy, shape=(100, 100, 30), spacing=(2.0, 2.0, 3.0), world=None):
    """Returns a scan, centred on world 0, of an anatomy: `to_anatomy` leads from the world to the anatomy, RAS mm."""
    affine = nibabel.affines.from_matvec(np.diag(spacing), -np.multiply(spacing, np.array(shape) - 1) / 2)
    if world is not None:
        affine = world @ affine
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    points = nibabel.affines.apply_affine(LPS_TO_RAS @ to_anatomy @ affine, indices)
    return Volume(1000 * anatomy(points), affine, pathlib.Path('scan.nii.gz'))


def moved(angles=(0, 0, 0), shift=(0, 0, 0)):
    return nibabel.affines.from_matvec(Rotation.from_euler('zyx', angles, degrees=True).as_matrix(), shift)


def check_place(contexts, to_anatomy, atol=2.5):
    """Checks that voxels of the stack lie at their canonical places, in the world of the scan."""
    corners = np.array([[20, 18, 20], [44, 20, 55], [30, 46, 30], [40, 40, 60]])
    found = nibabel.affines.apply_affine(LPS_TO_RAS @ to_anatomy @ contexts.affine, corners)
    np.testing.assert_allclose(found, nibabel.affines.apply_affine(CANONICAL, corners), atol=atol)


@pytest.mark.parametrize(
    'angle', [-37, 168, *(pytest.param(angle, marks=pytest.mark.slow) for angle in (0, 12, 90, -120))]
)
def test_place_contexts_finds_a_head_turned_in_the_plane_anywhere_in_a_large_field_of_view(model, angle):
    to_anatomy = moved((angle, 0, 0)) @ moved(shift=(31, -24, 5))
    scan = scan_of(to_anatomy)
    with collect_warnings() as warnings:
        contexts = place_contexts(model, scan, SliceSelection(scan_slices=(8, 12, 16, 19)))
    check_place(contexts, to_anatomy)
    assert np.abs(contexts.images - model.truth[list(contexts.positions)]).mean() < 0.02
    assert any('degrees in the plane against the axes of the header' in w for w in warnings) == (abs(angle) > 45)


@pytest.mark.parametrize(
    'angles',
    [
        (30, 180, 0),
        *(
            pytest.param(angles, marks=pytest.mark.slow)
            for angles in ((0, 0, 0), (0, 0, 180), (100, 90, 0), (-75, 0, 90), (10, 90, 90))
        ),
    ],
)
def test_place_contexts_of_unknown_axes_finds_the_orientation_whatever_the_header_says(model, angles):
    # The scan is axial to the anatomy: its own slice axis is that of the anatomy in one direction or the other.
    turn = (angles[0], 0, 180 if angles[1] == 180 else 0)
    to_anatomy = moved(turn) @ moved(shift=(10, 14, 3))
    # The header's world is turned by any rotation.
    world = moved(angles, (5, -60, 30))
    scan = scan_of(to_anatomy @ np.linalg.inv(world), world=world)
    contexts = place_contexts(
        model, scan, SliceSelection(scan_slices=(9, 13, 16, 18)), placing=Placing(scan_axes='unknown')
    )
    check_place(contexts, to_anatomy @ np.linalg.inv(world))
    assert contexts.placing['margin_nats'] > 30
    own = nibabel.aff2axcodes(moved(turn))
    if abs(turn[0]) < 40:
        assert contexts.placing['scan_axes'] == ''.join(own)
    for given, index in zip(contexts.given, sorted([9, 13, 16, 18], reverse=turn[2] == 180), strict=True):
        np.testing.assert_allclose(given.affine[:3, 3], (scan.affine @ [0, 0, index, 1])[:3], atol=1e-6)


def test_place_contexts_leads_back_to_the_voxels_of_the_scan(model):
    """The stack resampled to the world, as the output is, has the scan's intensities where the scan has them."""
    to_anatomy = moved((33, 0, 0)) @ moved(shift=(20, -15, 4))
    scan = scan_of(to_anatomy)
    contexts = place_contexts(model, scan, SliceSelection(scan_slices=(8, 12, 16, 19)))
    stack = np.zeros((80, 64, 64), np.float32)
    stack[contexts.stack[0]] = contexts.stack[1]
    grid = isotropic_grid(contexts.affine, stack.shape, 2.0, axes='LPS')
    volume = to_grid(stack, contexts.affine, grid)
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing='ij'), -1)
    points = nibabel.affines.apply_affine(LPS_TO_RAS @ to_anatomy @ grid.affine, indices)
    inside = np.linalg.norm(points / [32, 42, 28], axis=-1) < 0.85
    expected = anatomy(points) * 1000 / contexts.intensities[1]
    assert np.corrcoef(volume[inside], expected[inside])[0, 1] > 0.99


def test_place_contexts_warns_of_two_orientations_that_explain_the_slices_equally_well(model):
    # A canonical volume that is the same after half a turn in the plane.
    stack = model.truth
    even = (stack + stack[:, ::-1, ::-1]) / 2
    model.log_posterior = lambda images, slices, coarse=False: -float(np.square(images - even[slices]).sum()) / 0.2
    scan = scan_of(np.eye(4))
    slices = SliceSelection(scan_slices=(9, 13, 16, 18))
    with collect_warnings() as warnings:
        contexts = place_contexts(model, scan, slices, placing=Placing(scan_axes='unknown'))
    assert abs(contexts.placing['margin_nats']) < 30
    assert any(re.search('two orientations explain the context slices nearly equally well', w) for w in warnings)
    # The header decides.
    with collect_warnings() as warnings:
        contexts = place_contexts(model, scan, slices, placing=Placing(placement='anatomy'))
    assert not any('two orientations' in w for w in warnings)
    check_place(contexts, np.eye(4))


def test_place_contexts_leaves_a_scan_like_the_training_files_and_other_models_to_the_file(model, make_model):
    usual = scan_of(np.eye(4), shape=(80, 80, 41))
    selection = SliceSelection(slices=(20, 40, 60))
    frame = TrainingFrame.from_json(model.info.frame)
    expected = contexts_of_scan(usual, selection, FETAL, frame=frame)
    contexts = place_contexts(model, usual, selection)
    np.testing.assert_array_equal(contexts.affine, expected.affine)
    np.testing.assert_array_equal(contexts.images, expected.images)
    assert contexts.placing is None
    assert place_contexts(model, usual, selection, placing=Placing('anatomy')).placing is not None
    other = make_model(model.truth)
    other.definition, other.info = FETAL, model.info
    large = scan_of(moved(shift=(30, 20, 0)))
    np.testing.assert_array_equal(
        place_contexts(other, large, selection).affine, contexts_of_scan(large, selection, FETAL, frame=frame).affine
    )


def test_place_contexts_of_given_axes_need_no_canonical_volume(model, make_model):
    other = make_model(model.truth)
    other.definition, other.info = FETAL, model.info
    # The header says that the slices are sagittal.
    world = moved((0, 90, 0))
    scan = scan_of(np.linalg.inv(world), shape=(80, 80, 41), world=world)
    selection = SliceSelection(scan_slices=(15, 20, 25))
    contexts = place_contexts(other, scan, selection, placing=Placing(scan_axes='RAS'))
    check_place(contexts, np.linalg.inv(world))
    with pytest.raises(UserError, match=r'slices of scan\.nii\.gz are sagittal'):
        place_contexts(other, scan, selection)


@pytest.mark.parametrize(
    ('placing', 'selection', 'reference', 'message'),
    [
        (Placing('anatomy'), {'slices': (40,)}, True, '`placement=anatomy`: excludes a `reference`'),
        (Placing(scan_axes='RAS'), {'slices': (40,)}, True, '`scan_axes=RAS`: excludes a `reference`'),
        (Placing(scan_axes='RAS'), {'world_positions': (0.0,)}, False, 'excludes `world_positions`'),
        (Placing('file', 'unknown'), {'scan_slices': (15,)}, False, 'excludes `placement=file`'),
        (Placing(scan_axes='unknown'), {'slices': (40,)}, False, '`scan_axes=unknown`: needs `scan_slices`'),
    ],
)
def test_place_contexts_refuses_settings_that_exclude_each_other(model, placing, selection, reference, message):
    affine = LPS_TO_RAS @ CANONICAL if reference else None
    with pytest.raises(UserError, match=message):
        place_contexts(model, scan_of(np.eye(4)), SliceSelection(**selection), None, placing, affine)


@pytest.mark.parametrize('placing', [Placing('anatomy'), Placing(scan_axes='unknown')])
def test_place_contexts_refuses_a_model_without_a_canonical_volume(make_model, model, placing):
    with pytest.raises(UserError, match='needs a model that finds the place of slices'):
        place_contexts(make_model(model.truth), scan_of(np.eye(4)), SliceSelection(scan_slices=(15,)), placing=placing)


def test_placing_refuses_an_unknown_placement():
    with pytest.raises(UserError, match='`placement=head`: is unknown; give one of auto, file, anatomy'):
        Placing('head')


def test_place_contexts_of_a_blunt_mask_within_the_scan_and_of_one_that_the_scan_cuts_off(model):
    scan = scan_of(moved(shift=(20, 0, 0)))
    mask = scan.data > 0
    mask[:, :, :10] = False
    contexts = place_contexts(model, scan, SliceSelection(scan_slices=(12, 18)), mask)
    assert contexts.placing is not None
    cut = Volume(scan.data[:, :, 12:], scan.affine @ moved(shift=(0, 0, 12)), scan.path)
    for given in (None, cut.data > 0):
        with pytest.raises(UserError, match='cut off at the first or last of its slices'):
            place_contexts(model, cut, SliceSelection(scan_slices=(2, 8)), given)


def test_place_contexts_names_slices_without_anatomy(model):
    scan = scan_of(moved(shift=(20, 0, 0)))
    with collect_warnings() as warnings:
        place_contexts(model, scan, SliceSelection(scan_slices=(4, 12, 18)))
    assert any('show no anatomy; they count as background' in warning for warning in warnings)
    with pytest.raises(UserError, match='none of the chosen slices shows the anatomy'):
        place_contexts(model, scan, SliceSelection(scan_slices=(4, 5)))


def test_place_contexts_refuses_an_anatomy_of_another_size(model):
    scan = scan_of(np.diag([0.5, 0.5, 0.5, 1.0]), shape=(150, 150, 60))
    with pytest.raises(UserError, match=r'its anatomy is .* mm long along its'):
        place_contexts(model, scan, SliceSelection(scan_slices=(25, 35)))


@pytest.mark.slow
def test_reconstruct_writes_a_turned_anatomy_in_the_world_of_the_scan(model, tmp_path):
    world = moved((20, 90, 0), (5, -60, 30))
    to_anatomy = moved((33, 0, 0)) @ moved(shift=(20, -15, 4)) @ np.linalg.inv(world)
    scan = scan_of(to_anatomy, world=world)
    selection, placing = SliceSelection(scan_slices=(8, 12, 16, 19)), Placing(scan_axes='unknown')
    contexts = place_contexts(model, scan, selection, placing=placing)
    reconstruct(model, contexts, tmp_path / 'out', ReconstructionSettings(std_samples=0))
    written = nibabel.load(tmp_path / 'out/mean.nii.gz')
    # The fake completes its canonical stack, so the output must be the anatomy where the scan has it.
    indices = np.stack(np.meshgrid(*map(np.arange, written.shape), indexing='ij'), -1)
    points = nibabel.affines.apply_affine(LPS_TO_RAS @ to_anatomy @ written.affine, indices)
    inside = np.linalg.norm(points / [32, 42, 28], axis=-1) < 0.85
    assert np.corrcoef(written.get_fdata()[inside], anatomy(points)[inside])[0, 1] > 0.98
    # The axes of the file are those of the anatomy, for viewers and for the pictures of the report.
    own = to_anatomy[:3, :3] @ written.affine[:3, :3]
    np.testing.assert_allclose(own, np.eye(3), atol=0.1)
    sidecar = json.loads((tmp_path / 'out/reconstruction.json').read_text())
    assert sidecar['placing'] == contexts.placing
    assert sidecar['selection'] == {'scan_slices': [8, 12, 16, 19], 'scan_axes': 'unknown'}
    page = (tmp_path / 'out/report.html').read_text()
    assert ', '.join(contexts.placing['scan_axes']) in page[page.index('id="placing"') :]
