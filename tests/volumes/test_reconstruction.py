"""What lies in the output folder, and where in the world."""

import json
import pathlib

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.data import extract_stack, get_definition, read_volume
from tfp_bruno.errors import UserError
from tfp_bruno.volumes import ReconstructionSettings, reconstruct

FETAL = get_definition('fetal')


@pytest.fixture
def scan_and_model(oblique_scan, make_model):
    """An oblique scan, a model that knows its stack, and the world point of its blob."""
    scan, point = oblique_scan
    return scan, make_model(extract_stack(scan, FETAL).images, noise=0.02), point


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_the_files_keep_their_contract(tmp_path, scan_and_model):
    scan, model, point = scan_and_model
    out = tmp_path / 'out'
    reconstruct(model, scan, out, ReconstructionSettings(slices=[10, 30, 50, 70], num_samples=2, spacing=1.5))
    samples = ['samples/sample_000.nii.gz', 'samples/sample_001.nii.gz']
    volumes = ['mask.nii.gz', 'mean.nii.gz', *samples, 'std.nii.gz']
    assert names(out) == sorted([*volumes, 'mosaic.png', 'reconstruction.json'])
    images = {name: nibabel.load(out / name) for name in volumes}
    reference = images['mean.nii.gz'].affine
    np.testing.assert_allclose(reference[:3, :3].T @ reference[:3, :3], np.eye(3) * 1.5**2, atol=1e-4)
    mask = np.asarray(images['mask.nii.gz'].dataobj)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    for name, image in images.items():
        np.testing.assert_array_equal(image.affine, reference)
        assert image.shape == mask.shape
        assert (int(image.header['sform_code']), int(image.header['qform_code'])) == (1, 1)
        np.testing.assert_allclose(image.header.get_qform(), reference, atol=1e-3)
        data = np.asarray(image.dataobj)
        assert np.isfinite(data).all()
        assert data.min() == 0
        if name != 'mask.nii.gz':
            assert data.dtype == np.float32
        if 'sample' not in name:
            assert not data[mask == 0].any()
    mean = images['mean.nii.gz'].get_fdata()
    centre = nibabel.affines.apply_affine(reference, ndimage.center_of_mass(mean))
    np.testing.assert_allclose(centre, point, atol=0.3)


def test_a_scan_comes_out_where_and_as_bright_as_it_went_in(tmp_path, scan_and_model):
    scan, model, _ = scan_and_model
    reconstruct(model, scan, tmp_path / 'out', ReconstructionSettings(slices=[40]))
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


def test_the_sidecar_says_how(tmp_path, scan_and_model):
    scan, model, _ = scan_and_model
    settings = ReconstructionSettings(
        slices=None, scan_slices=[20, 30], seed=3, spacing=4.0, command='bin/reconstruct --x'
    )
    completion = reconstruct(model, scan, tmp_path / 'out', settings)
    sidecar = json.loads((tmp_path / 'out' / 'reconstruction.json').read_text())
    assert sidecar['contexts'] == list(completion.positions)
    assert sidecar['scan_slices'] == [20, 30]
    assert sidecar['training']['is_phantom'] is True
    assert sidecar['dataset']['name'] == 'fetal'
    assert (sidecar['seed'], sidecar['scan'], sidecar['command']) == (3, 'scan.nii.gz', 'bin/reconstruct --x')
    assert sidecar['versions']['nibabel'] == nibabel.__version__
    assert sidecar['intensity']['low'] == 0


def test_the_contexts_are_slices_of_the_scan(tmp_path, scan_and_model):
    scan, model, _ = scan_and_model
    reconstruct(model, scan, tmp_path / 'out', ReconstructionSettings(slices=[50, 30], spacing=4.0))
    images, slices = model.calls[0]
    assert slices == (30, 50)
    np.testing.assert_array_equal(images[0], extract_stack(scan, FETAL).images[[30, 50]])


def test_the_atlas_lies_about_world_zero(tmp_path, make_model, ellipsoid):
    reconstruct(make_model(ellipsoid), None, tmp_path / 'out', ReconstructionSettings(spacing=2.0))
    written = read_volume(tmp_path / 'out' / 'mean.nii.gz')
    middle = nibabel.affines.apply_affine(written.affine, (np.array(written.data.shape) - 1) / 2)
    np.testing.assert_allclose(middle, 0, atol=1e-5)
    mask = np.asarray(nibabel.load(tmp_path / 'out' / 'mask.nii.gz').dataobj) > 0
    assert written.data[mask].mean() == pytest.approx(700, rel=1e-4)
    # The ellipsoid lies at larger w: to the left, which is smaller x.
    assert nibabel.affines.apply_affine(written.affine, ndimage.center_of_mass(written.data))[0] < -5


def test_what_cannot_be_done_leaves_nothing(tmp_path, scan_and_model, make_model):
    scan, model, _ = scan_and_model
    empty = make_model(np.zeros((80, 64, 64), np.float32))
    cases = [
        (model, scan, ReconstructionSettings(slices=[80]), '--slices: 80 is outside the stack'),
        (model, scan, ReconstructionSettings(slices=None, scan_slices=[0]), '--scan_slices: 0 is outside'),
        (model, None, ReconstructionSettings(slices=[10]), '--stack: is missing'),
        (empty, None, ReconstructionSettings(), 'the completed volume is empty'),
    ]
    for used, volume, settings, message in cases:
        with pytest.raises(UserError, match=message):
            reconstruct(used, volume, tmp_path / 'out', settings)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_leaves_no_samples_of_before(tmp_path, make_model, ellipsoid):
    model, out = make_model(ellipsoid), tmp_path / 'out'
    reconstruct(model, None, out, ReconstructionSettings(num_samples=2, spacing=4.0))
    pathlib.Path(out / 'notes.txt').write_text('mine')
    with pytest.raises(UserError, match='is not empty'):
        reconstruct(model, None, out, ReconstructionSettings(num_samples=1, spacing=4.0))
    reconstruct(model, None, out, ReconstructionSettings(num_samples=1, spacing=4.0, overwrite=True))
    assert [name for name in names(out) if 'sample' in name] == ['samples/sample_000.nii.gz']
    assert (out / 'notes.txt').read_text() == 'mine'


def test_slices_or_scan_slices():
    for settings in ({'slices': [1], 'scan_slices': [1]}, {'slices': None}):
        with pytest.raises(UserError, match='--slices, --scan_slices: give one of them'):
            ReconstructionSettings(**settings)
