"""A model without training, and a scan."""

import pathlib

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Volume, get_definition


class FakeModel:
    """Stands in for a trained model: knows one stack, and adds seeded noise where it samples."""

    name, sampling, temperature = 'fake', {}, 1.0

    def __init__(self, truth, dataset='fetal', noise=0.1):
        self.definition = get_definition(dataset)
        self.info = RunInfo(None, 'built-in phantom population (synthetic)', True, 6, seed=0, preset='cpu')
        self.truth, self.noise = truth, noise
        self.calls = []

    def predict(self, context_images, context_slices, query_slices):
        self.calls.append((context_images, tuple(context_slices)))
        return self.truth[np.newaxis, query_slices]

    def sample(self, context_images, context_slices, query_slices, num_samples, seed):
        noise = np.random.default_rng(seed).normal(0, self.noise, (num_samples, 1, len(query_slices), 1, 1))
        present = self.truth[query_slices] > 0
        return (self.truth[query_slices] + noise * present)[:, :].astype(np.float32)


@pytest.fixture
def ellipsoid():
    """A smooth off-centre ellipsoid, `[80, 64, 64]` in [0, 0.8], background 0."""
    k, h, w = np.meshgrid(np.arange(80), np.arange(64), np.arange(64), indexing='ij')
    inside = ((k - 42) / 28) ** 2 + ((h - 30) / 18) ** 2 + ((w - 35) / 14) ** 2 < 1
    return ndimage.gaussian_filter(0.8 * inside.astype(np.float32), 1.0) * inside


@pytest.fixture
def model(ellipsoid):
    return FakeModel(ellipsoid)


@pytest.fixture(scope='session')
def make_model():
    return FakeModel


@pytest.fixture(scope='session')
def oblique_scan():
    """A scan whose file order is (posterior, superior, right), oblique by 20 degrees, with a bright blob.

    Returns the Volume and the world point of the blob.
    """
    axes = np.array([[0, 0, 1.2], [-1.5, 0, 0], [0, 2.0, 0]])
    matrix = Rotation.from_rotvec([0.2, -0.2, 0.2]).as_matrix() @ axes
    shape = np.array([90, 60, 100])
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = [30, -40, 50] - matrix @ ((shape - 1) / 2)
    point = np.array([38.0, -45.0, 55.0])
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    distance = np.sum((voxels @ matrix.T + affine[:3, 3] - point) ** 2, -1)
    data = (800 * np.exp(-distance / (2 * 8.0**2))).astype(np.float32)
    return Volume(data, affine, pathlib.Path('scan.nii.gz')), point
