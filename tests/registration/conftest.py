"""Smooth volumes in a small box, a canonical space over it, and subjects that are deformed copies."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.registration import CanonicalSpace, Frame, Registration, SmoothBasis, SubjectMap, register_subjects

SHAPE, VOXEL_SIZE = (16, 20, 18), (2.0, 1.5, 1.5)


def make_blobs(seed):
    """A smooth volume in [0, 1] with an ellipsoid as foreground: a sum of bells, and of none near the border."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*map(np.arange, SHAPE), indexing='ij')
    middle, extent = (np.array(SHAPE) - 1) / 2, np.array(SHAPE) / 2
    inside = sum(np.square((axis - m) / (0.75 * e)) for axis, m, e in zip(axes, middle, extent, strict=True))
    texture = np.zeros(SHAPE)
    for centre, height in zip(middle + 0.5 * extent * rng.uniform(-1, 1, (14, 3)), rng.uniform(-1, 1, 14), strict=True):
        texture += height * np.exp(-sum(np.square(a - c) for a, c in zip(axes, centre, strict=True)) / 14)
    return ((0.5 + 0.3 * np.tanh(texture)) / (1 + np.exp(5 * (inside - 1)))).astype(np.float32)


def sample(volume, points):
    """Trilinear interpolation at `[3, ...]`, by SciPy."""
    return ndimage.map_coordinates(volume, points, np.float32, order=1, mode='nearest')


@pytest.fixture(scope='session')
def blobs():
    return make_blobs(3)


@pytest.fixture(scope='session')
def space(blobs):
    return CanonicalSpace(Frame.measure(blobs), SmoothBasis(SHAPE, VOXEL_SIZE, 12.0, 1.0, 20))


@pytest.fixture(scope='session')
def make_subject(space):
    """Makes a random map: size and place within some per cent of the canonical frame, displacements of about 1 mm."""

    def make(seed, share=1.0):
        rng = np.random.default_rng(seed)
        size = space.frame.size * np.exp(0.06 * share * rng.normal(size=3))
        frame = Frame(size, space.frame.place + 0.4 * share * rng.normal(size=3))
        return SubjectMap(frame, share * rng.normal(size=(3, space.basis.size)))

    return make


@pytest.fixture(scope='session')
def make_stack(space):
    """Makes the stack of a subject: the canonical volume, sampled where the map takes the voxels."""

    def make(volume, subject):
        return sample(volume, space.grid(subject, [np.arange(size) for size in SHAPE]))

    return make


@pytest.fixture(scope='session')
def population(blobs, make_subject, make_stack):
    """Twelve deformed copies of one volume, `[12, K, H, W]`."""
    return np.stack([make_stack(blobs, make_subject(seed)) for seed in range(12)])


@pytest.fixture(scope='session')
def registration(population):
    return Registration.of_maps(population, VOXEL_SIZE, register_subjects(population, VOXEL_SIZE))
