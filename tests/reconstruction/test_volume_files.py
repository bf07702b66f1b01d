"""Slices that are kept are written voxel for voxel."""

import pathlib

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.data import Volume, get_definition, read_volume
from tfp_bruno.reconstruction import (
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    reconstruct,
)

FETAL = get_definition('fetal')


@pytest.fixture
def scan():
    """An oblique scan of isotropic voxels of 2 mm, noisy, background 0; its file order is (S, R, P)."""
    data = np.random.default_rng(1).uniform(100, 1000, (40, 44, 48)).astype(np.float32)
    data[:5] = data[-5:] = 0
    data[:, :5] = data[:, -5:] = 0
    matrix = Rotation.from_rotvec([0.1, 0.2, -0.15]).as_matrix() @ np.array([[0, 2, 0], [0, 0, -2], [2, 0, 0.0]])
    return Volume(data, nibabel.affines.from_matvec(matrix, [20, 50, -30]), pathlib.Path('scan.nii.gz'))


def test_keep_contexts_restores_slices_voxel_for_voxel(tmp_path, scan, make_model, ellipsoid):
    contexts = contexts_of_scan(scan, SliceSelection(scan_slices=(14, 20)), FETAL)
    settings = ReconstructionSettings(
        num_samples=1, std_samples=2, report=False, output=OutputSettings(spacing=2.0, keep_contexts=True)
    )
    reconstruct(make_model(ellipsoid), contexts, tmp_path / 'out', settings)
    mean = read_volume(tmp_path / 'out' / 'mean.nii.gz')
    for index in (14, 20):
        # The voxels of this slice are voxels of the output.
        voxels = np.argwhere(scan.data[index] > 0)
        world = nibabel.affines.apply_affine(scan.affine, np.insert(voxels, 0, index, axis=1))
        places = nibabel.affines.apply_affine(np.linalg.inv(mean.affine), world)
        np.testing.assert_allclose(places, np.round(places), atol=1e-3)
        where = tuple(np.round(places).astype(int).T)
        truth = scan.data[index][tuple(voxels.T)]
        for name in ('mean', 'samples/sample_000'):
            data = read_volume(tmp_path / 'out' / f'{name}.nii.gz').data
            # Bit for bit, also the brightest voxels, which are clipped for the model.
            np.testing.assert_array_equal(data[where], truth)
        assert not read_volume(tmp_path / 'out' / 'std.nii.gz').data[where].any()
        assert (nibabel.load(tmp_path / 'out' / 'mask.nii.gz').get_fdata()[where] == 1).all()


@pytest.mark.slow
def test_keep_contexts_at_another_spacing_is_one_layer_of_the_slice(tmp_path, scan, make_model, ellipsoid):
    contexts = contexts_of_scan(scan, SliceSelection(scan_slices=(20,)), FETAL)
    output = OutputSettings(spacing=1.1, intensity='target', keep_contexts=True)
    settings = ReconstructionSettings(std_samples=0, report=False, output=output)
    reconstruct(make_model(ellipsoid), contexts, tmp_path / 'out', settings)
    mean = read_volume(tmp_path / 'out' / 'mean.nii.gz')
    voxels = np.argwhere(mean.data > 0)
    x, *in_plane = nibabel.affines.apply_affine(np.linalg.inv(scan.affine) @ mean.affine, voxels).T
    values, expected = mean.data[mean.data > 0], ndimage.map_coordinates(scan.data[20], in_plane, order=1)
    distance = np.abs(x - 20) * 2.0
    for near, far, agreement in ((0, 0.54, 0.9999), (0.56, 1.5, None)):
        layer = (distance >= near) & (distance <= far) & (expected >= 100)
        assert layer.sum() > 500
        correlation = np.corrcoef(values[layer], expected[layer])[0, 1]
        # Only the layer of the slice has its noise.
        assert correlation > agreement if agreement else correlation < 0.9
