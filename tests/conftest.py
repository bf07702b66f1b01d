"""Full float32 on GPUs, and checks of written volumes that do not use the package."""

import gzip
import os
import pathlib
import struct

import hypothesis
import nibabel
import numpy as np
import pytest

# A busy machine may take any time for one example.
hypothesis.settings.register_profile('tests', deadline=None)
hypothesis.settings.load_profile('tests')

# Full float32 on GPUs, as in the commands; without importing TensorFlow, which many tests do not need.
os.environ['NVIDIA_TF32_OVERRIDE'] = '0'


def check_grid(path):
    """Returns the voxels of a file after checking its header: what slice-to-volume tools read from it."""
    path = pathlib.Path(path)
    raw = gzip.decompress(path.read_bytes())
    assert struct.unpack_from('<i', raw, 0) == (348,)
    assert raw[344:348] == b'n+1\0'
    assert struct.unpack_from('<ff', raw, 112) == (1.0, 0.0), 'scl_slope and scl_inter'
    image = nibabel.load(path)
    assert image.ndim == 3
    header = image.header
    assert (int(header['qform_code']), int(header['sform_code'])) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-3)
    assert header.get_xyzt_units()[0] == 'mm'
    matrix = header.get_sform()[:3, :3].astype(np.float64)
    spacing = np.linalg.norm(matrix[:, 0])
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3) * spacing**2, atol=1e-4, err_msg='isotropic, no shear')
    assert np.linalg.det(matrix) > 0
    data = np.asarray(image.dataobj)
    assert np.isfinite(data).all()
    return data, image


def check_contract(folder, foreground_mean=None):
    """Checks `mean.nii.gz` and the other volumes in a folder of results.

    Args:
        folder: The folder.
        foreground_mean: Required foreground mean of the mean volume, within 0.1 %; None for any.
    """
    folder = pathlib.Path(folder)
    mask, reference = check_grid(folder / 'mask.nii.gz')
    assert reference.get_data_dtype() == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    others = [folder / f'{name}.nii.gz' for name in ('mean', 'std', 'lower', 'upper')]
    samples = sorted(folder.glob('samples/*.nii.gz'))
    assert others[0].exists()
    for path in [*filter(pathlib.Path.exists, others), *samples]:
        data, image = check_grid(path)
        assert image.get_data_dtype() == np.float32, path
        assert image.shape == reference.shape
        np.testing.assert_array_equal(image.affine, reference.affine)
        assert data.min() >= 0, f'{path}: negative'
        if path not in samples:
            assert not data[mask == 0].any(), f'{path}: background'
        else:
            assert (data == 0).mean() > 0.05, f'{path}: no background'
        assert data.max() < 2**15, f'{path}: does not fit into short'
    mean = np.asarray(nibabel.load(folder / 'mean.nii.gz').dataobj)
    assert mean[mask > 0].mean() > 0
    if foreground_mean:
        np.testing.assert_allclose(mean[mask > 0].mean(), foreground_mean, rtol=1e-3)


@pytest.fixture(scope='session')
def assert_contract():
    """Checks a folder of results: `assert_contract(folder, foreground_mean=700)`."""
    return check_contract
