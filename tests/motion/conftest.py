"""A small anatomy with texture, and a fetal phantom."""

import types

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno import phantoms


@pytest.fixture(scope='session')
def blobs():
    """An ellipsoid of 76 x 92 x 80 mm with smooth random texture, on an oblique grid of 2 mm, background 0."""
    shape = (48, 56, 50)
    grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing='ij'), -1)
    mask = ((grid / [19, 23, 20]) ** 2).sum(-1) < 1
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2.0)
    volume = np.where(mask, 0.5 + 0.15 * texture / texture.std(), 0.0).clip(0, 1).astype(np.float32)
    turn = nibabel.eulerangles.euler2mat(0.1, 0.05, -0.08) * 2.0
    affine = nibabel.affines.from_matvec(turn, [3.0, -5.0, 8.0] - turn @ (np.array(shape) - 1) / 2)
    return types.SimpleNamespace(volume=volume, mask=mask, affine=affine)


@pytest.fixture(scope='session')
def fetus():
    """A fetal phantom of 1 mm."""
    volume, mask, affine = phantoms.make_subject('fetal', 0)
    return types.SimpleNamespace(volume=volume, mask=mask, affine=affine)
