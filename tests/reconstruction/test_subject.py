"""The files of a reconstruction: their contract, place in the world, intensities and sidecar."""

import dataclasses
import json
import pathlib

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.data import extract_stack, get_definition, read_volume
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import (
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    no_contexts,
    reconstruct,
)

FETAL = get_definition('fetal')
COARSE = OutputSettings(spacing=4.0)
PLAIN = ReconstructionSettings(std_samples=0, report=False)


@pytest.fixture
def scan_and_model(oblique_scan, make_model):
    """An oblique scan, a model that knows its stack, and the world point of its blob."""
    scan, point = oblique_scan
    return scan, make_model(extract_stack(scan, FETAL).images, noise=0.02), point


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def contexts_at(scan, *slices):
    return contexts_of_scan(scan, SliceSelection(slices=slices), FETAL)


VOLUMES = {'mean', 'std', 'mask', 'lower', 'upper', 'samples/sample_000', 'samples/sample_001'}


@pytest.mark.parametrize('intensity', [pytest.param('scan', marks=pytest.mark.slow), 'target'])
@pytest.mark.parametrize('keep_contexts', [pytest.param(False, marks=pytest.mark.slow), True])
def test_reconstruct_files_keep_their_contract(tmp_path, scan_and_model, assert_contract, intensity, keep_contexts):
    scan, model, point = scan_and_model
    out = tmp_path / 'out'
    output = OutputSettings(1.5, intensity, keep_contexts, canonical=True)
    settings = ReconstructionSettings(num_samples=2, std_samples=3, interval=True, report=False, output=output)
    reconstruct(model, contexts_at(scan, 10, 30, 50, 70), out, settings)
    volumes = {f'{name}.nii.gz' for name in VOLUMES}
    written = {*volumes, *(f'canonical/{name}' for name in volumes), 'canonical/to_scanner.txt', 'reconstruction.json'}
    assert names(out) == sorted(written)
    for folder in (out, out / 'canonical'):
        assert_contract(folder)
    mean = nibabel.load(out / 'mean.nii.gz')
    mask = np.asarray(nibabel.load(out / 'mask.nii.gz').dataobj)
    if intensity == 'target':
        assert mean.get_fdata()[mask > 0].mean() == pytest.approx(700, rel=1e-3)
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(mean.affine), 1.5, rtol=1e-5)
    # The blob is where it is in the scan; the matrix maps its place in the training frame to there.
    centre = ndimage.center_of_mass(mean.get_fdata())
    np.testing.assert_allclose(nibabel.affines.apply_affine(mean.affine, centre), point, atol=0.3)
    canonical = nibabel.load(out / 'canonical' / 'mean.nii.gz')
    to_scanner = np.loadtxt(out / 'canonical' / 'to_scanner.txt')
    centre = nibabel.affines.apply_affine(canonical.affine, ndimage.center_of_mass(canonical.get_fdata()))
    np.testing.assert_allclose(nibabel.affines.apply_affine(to_scanner, centre), point, atol=0.3)


def test_reconstruct_keeps_place_and_intensities_of_a_scan(tmp_path, scan_and_model):
    scan, model, _ = scan_and_model
    reconstruct(model, contexts_at(scan, 40), tmp_path / 'out', PLAIN)
    assert names(tmp_path / 'out') == ['mask.nii.gz', 'mean.nii.gz', 'reconstruction.json']
    written = read_volume(tmp_path / 'out' / 'mean.nii.gz')
    voxels = np.argwhere(written.data > 100)
    world = nibabel.affines.apply_affine(written.affine, voxels)
    in_scan = nibabel.affines.apply_affine(np.linalg.inv(scan.affine), world)
    expected = np.minimum(
        ndimage.map_coordinates(scan.data, in_scan.T, order=1), extract_stack(scan, FETAL).intensity_high
    )
    error = np.abs(written.data[tuple(voxels.T)] - expected)
    assert len(voxels) > 1000
    assert error.mean() < 10
    assert error.max() < 80


def test_reconstruct_sidecar_records_how_the_volume_was_made(tmp_path, scan_and_model):
    scan, model, _ = scan_and_model
    settings = ReconstructionSettings(seed=3, command='bin/reconstruct --x', std_samples=2, output=COARSE, report=False)
    contexts = contexts_of_scan(scan, SliceSelection(scan_slices=(20, 30)), FETAL)
    completion = reconstruct(model, contexts, tmp_path / 'out', settings)
    sidecar = json.loads((tmp_path / 'out' / 'reconstruction.json').read_text())
    assert sidecar['contexts'] == list(completion.positions)
    assert sidecar['selection'] == {'scan_slices': [20, 30]}
    assert sidecar['training']['is_phantom'] is True
    assert sidecar['dataset']['name'] == 'fetal'
    assert (sidecar['seed'], sidecar['files'], sidecar['command']) == (3, ['scan.nii.gz'], 'bin/reconstruct --x')
    assert sidecar['versions']['nibabel'] == nibabel.__version__
    assert (sidecar['intensity']['kind'], sidecar['intensity']['low']) == ('scan', 0)
    assert sidecar['slice_thickness_mm'] == pytest.approx(2.0)
    # The coordinate of the planes along their normal.
    middle = nibabel.affines.apply_affine(np.array(sidecar['stack_to_world']), [31.5, 31.5, completion.positions[0]])
    normal = np.cross(*np.array(sidecar['stack_to_world'])[:3, :2].T)
    expected = middle @ normal / np.linalg.norm(normal)
    assert sidecar['context_positions_mm'][0] == pytest.approx(expected, abs=1e-3)


def test_reconstruct_atlas_is_centred_on_world_0(tmp_path, make_model, ellipsoid, assert_contract):
    reconstruct(make_model(ellipsoid), no_contexts(FETAL), tmp_path / 'out', PLAIN)
    assert_contract(tmp_path / 'out', foreground_mean=700)
    written = read_volume(tmp_path / 'out' / 'mean.nii.gz')
    middle = nibabel.affines.apply_affine(written.affine, (np.array(written.data.shape) - 1) / 2)
    np.testing.assert_allclose(middle, 0, atol=1e-5)
    # The ellipsoid lies at larger w: to the left, which is smaller x.
    assert nibabel.affines.apply_affine(written.affine, ndimage.center_of_mass(written.data))[0] < -5


def test_reconstruct_errors_leave_no_files(tmp_path, scan_and_model, make_model):
    _, model, _ = scan_and_model
    empty = make_model(np.zeros((80, 64, 64), np.float32))
    hounsfield = ReconstructionSettings(output=OutputSettings(intensity='hounsfield'))
    fine = ReconstructionSettings(output=OutputSettings(spacing=0.01))
    cases = [
        (empty, no_contexts(FETAL), PLAIN, 'fake: the completed volume is empty'),
        (model, no_contexts(FETAL), hounsfield, '`intensity=hounsfield`: fetal has no intensity window'),
        (model, no_contexts(FETAL), fine, '`spacing=0.01`: makes .* voxels, too many'),
    ]
    for used, contexts, settings, message in cases:
        with pytest.raises(UserError, match=message):
            reconstruct(used, contexts, tmp_path / 'out', settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_reconstruct_overwrite_leaves_no_earlier_results(tmp_path, make_model, ellipsoid):
    model, out = make_model(ellipsoid), tmp_path / 'out'
    first = ReconstructionSettings(
        num_samples=2, interval=True, output=OutputSettings(4.0, canonical=True), std_samples=2
    )
    reconstruct(model, no_contexts(FETAL), out, first)
    pathlib.Path(out / 'notes.txt').write_text('mine')
    with pytest.raises(UserError, match='is not empty'):
        reconstruct(model, no_contexts(FETAL), out, first)
    second = ReconstructionSettings(num_samples=1, output=COARSE, std_samples=1, overwrite=True, report=False)
    reconstruct(model, no_contexts(FETAL), out, second)
    kept = ['mask.nii.gz', 'mean.nii.gz', 'notes.txt', 'reconstruction.json', 'samples/sample_000.nii.gz']
    assert names(out) == [*kept, 'std.nii.gz']
    assert (out / 'notes.txt').read_text() == 'mine'


def test_reconstruct_ct_records_the_offset_to_hounsfield_units(tmp_path, make_model, ellipsoid, assert_contract):
    definition = get_definition('thorax')
    truth = np.concatenate([ellipsoid, np.zeros((20, 64, 64), np.float32)])
    model = make_model(truth, 'thorax')
    units = {}
    for kind in ('scan', 'hounsfield'):
        settings = ReconstructionSettings(report=False, std_samples=0, output=OutputSettings(2.0, kind))
        reconstruct(model, no_contexts(definition), tmp_path / kind, settings)
        sidecar = json.loads((tmp_path / kind / 'reconstruction.json').read_text())
        units[kind] = read_volume(tmp_path / kind / 'mean.nii.gz').data + sidecar['intensity']['offset']
    assert_contract(tmp_path / 'scan')
    np.testing.assert_allclose(units['scan'], units['hounsfield'], atol=1e-3)
    assert units['hounsfield'].min() == -1000
    assert units['hounsfield'].max() == pytest.approx(-1000 + 2000 * ellipsoid.max(), rel=0.01)


@pytest.mark.parametrize('background', [-300.0, 20.0])
@pytest.mark.parametrize('kind', ['scan', 'target'])
def test_reconstruct_shifts_the_background_to_0(tmp_path, scan_and_model, assert_contract, background, kind):
    scan, model, _ = scan_and_model
    plain = dataclasses.replace(scan, data=np.where(scan.data > 8, scan.data, 0).astype(np.float32))
    shifted = dataclasses.replace(scan, data=plain.data + np.float32(background))
    volumes, offsets = [], []
    for name, item in (('plain', plain), ('shifted', shifted)):
        settings = ReconstructionSettings(report=False, std_samples=2, output=OutputSettings(2.0, kind, True))
        reconstruct(model, contexts_at(item, 30, 45), tmp_path / name, settings)
        assert_contract(tmp_path / name)
        volumes.append(read_volume(tmp_path / name / 'mean.nii.gz').data)
        offsets.append(json.loads((tmp_path / name / 'reconstruction.json').read_text())['intensity']['offset'])
    np.testing.assert_allclose(volumes[1], volumes[0], atol=1e-2)
    # Added to a voxel, the offset gives the intensity of the scan.
    assert offsets == ([0, background] if kind == 'scan' else [None, None])
