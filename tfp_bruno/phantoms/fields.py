"""Smooth random fields on a voxel lattice, and the bent coordinates in which an individual is built."""

import dataclasses

import numpy as np

from tfp_bruno.phantoms import geometry


def _kernel(coordinates, nodes, correlation_length):
    """Returns the weights [coordinates, nodes] of Gaussian bumps at the nodes, scaled to unit variance."""
    weights = np.exp(-(((coordinates[:, None] - nodes[None, :]) / correlation_length) ** 2))
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def smooth_field(axes, correlation_length, rng):
    """Returns a smooth Gaussian random field of unit variance and Gaussian covariance.

    Args:
        axes: three 1-D arrays of coordinates, mm; the field lives on their product.
        correlation_length: distance at which the correlation has fallen to exp(-1/2), mm.
        rng: numpy random generator.

    Returns:
        float32 array [len(axes[0]), len(axes[1]), len(axes[2])].
    """
    spacing = correlation_length / 1.5
    kernels = []
    for axis in axes:
        nodes = np.arange(axis[0] - 2.0 * correlation_length, axis[-1] + 2.0 * correlation_length + spacing, spacing)
        kernels.append(_kernel(axis, nodes, correlation_length))
    noise = rng.standard_normal([kernel.shape[1] for kernel in kernels], dtype=np.float32)
    field = np.tensordot(kernels[0], noise, axes=(1, 0))
    field = np.matmul(kernels[1], field)
    return np.matmul(field, kernels[2].T)


@dataclasses.dataclass(frozen=True)
class Placement:
    """How an individual lies in the scanner.

    Attributes:
        scale: three factors from the reference anatomy to the individual.
        angles: rotation about x, y, z, radians.
        shift: translation, mm.
        bend: standard deviation of the smooth random displacement, mm.
        bend_length: its correlation length, mm.
    """

    scale: tuple
    angles: tuple
    shift: tuple
    bend: float
    bend_length: float


def voxel_axes(shape):
    """Returns the three 1-D arrays of world coordinates (RAS, mm) of a lattice of 1 mm centred on the origin."""
    return [np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2.0) for size in shape]


def bent_coordinates(axes, placement, rng):
    """Maps every voxel to the reference anatomy.

    Args:
        axes: three 1-D arrays of world coordinates, mm.
        placement: the individual's Placement.
        rng: numpy random generator, for the bending.

    Returns:
        Three float32 arrays (x, y, z) of the lattice's shape: the point of the reference anatomy at each voxel.
    """
    rotation = geometry.rotation_matrix(placement.angles)
    sparse = np.meshgrid(*axes, indexing='ij', sparse=True)
    grid = [axis - np.float32(offset) for axis, offset in zip(sparse, placement.shift, strict=True)]
    points = []
    for row, scale in zip(rotation, placement.scale, strict=True):
        field = smooth_field(axes, placement.bend_length, rng)
        field *= np.float32(placement.bend)
        field += row[0] * grid[0] + row[1] * grid[1] + row[2] * grid[2]
        field *= np.float32(1.0 / scale)
        points.append(field)
    return points
