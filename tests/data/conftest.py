"""Small volumes on disk."""

import nibabel
import numpy as np
import pytest


def save_nifti(path, data, sform=None, qform=None):
    """Writes a volume with nibabel alone; a missing sform or qform gets code 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data, None)
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    nibabel.save(image, path)
    return path


@pytest.fixture
def save():
    """The function that writes a volume."""
    return save_nifti


@pytest.fixture
def smooth_volume():
    """A volume of smooth positive random intensities, `[24, 28, 32]` float32, without symmetry."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(10, 1000, (6, 7, 8)).astype(np.float32)
    return np.kron(coarse, np.ones((4, 4, 4), np.float32))


@pytest.fixture
def make_folder(smooth_volume):
    """Writes a folder of `count` volumes, flat or BIDS, each with a mask."""

    def make(folder, count, bids=False):
        for index in range(count):
            name = f'sub-{index + 1:02d}'
            inside = folder / name / 'anat' if bids else folder
            affine = np.diag([5.0, 5.0, 5.0, 1.0])
            save_nifti(inside / f'{name}_T2w.nii.gz', smooth_volume + index, affine, affine)
            save_nifti(inside / f'{name}_mask.nii.gz', (smooth_volume > 0).astype(np.uint8), affine, affine)
        return folder

    return make
