"""Intensities in [0, 1] as points within 256 grey levels, where the flow's density lives."""

import numpy as np

__all__ = ['LEVELS', 'dequantise', 'from_level_middle', 'one_hot_poses', 'to_level_middle']

LEVELS = 256


def to_level_middle(images):
    """Moves intensities in [0, 1] to `(0, 1)`: 0 to the middle of the first grey level, 1 to that of the last."""
    return (images * (LEVELS - 1) + 0.5) / LEVELS


def from_level_middle(images):
    """Undoes `to_level_middle`; what a flow decodes may lie a little outside [0, 1]."""
    return (images * LEVELS - 0.5) / (LEVELS - 1)


def dequantise(images, seed):
    """Rounds intensities to the grey levels and spreads each level over its share of [0, 1): its density is bounded.

    Args:
        images: array of any shape, in [0, 1].
        seed: of the noise, as `numpy.random.default_rng` takes it.

    Returns:
        float32 array of the same shape, in [0, 1).
    """
    levels = np.round(np.asarray(images) * (LEVELS - 1))
    # Drawn in steps of 2^-16, so that float32 holds the sum exactly and never rounds it up to 1.
    noise = np.random.default_rng(seed).integers(0, 1 << 16, levels.shape) / (1 << 16)
    return ((levels + noise) / LEVELS).astype(np.float32)


def one_hot_poses(slices, num_slices):
    """Returns the poses of slices as one-hot vectors, as the paper gives them to the flow.

    Args:
        slices: Integer array `[...]` of slice numbers in `[0, num_slices)`.
        num_slices: `int`, K.

    Returns:
        float32 array `[..., num_slices]`.

    Raises:
        ValueError: if a slice number is out of range.
    """
    slices = np.asarray(slices, np.int64)
    if slices.size and (slices.min() < 0 or slices.max() >= num_slices):
        raise ValueError(f'slice numbers must be in [0, {num_slices}), got {slices.min()} to {slices.max()}.')
    return np.eye(num_slices, dtype=np.float32)[slices]
