"""Slices as a model takes them: intensities in [0, 1] within 256 grey levels, slice numbers as one-hot poses."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Grey levels of a model's density.
LEVELS = 256
# Largest intensity on disk: with 16 bits, an intensity changes by less than 1e-5.
_MAX_UINT16 = 65535


def add_level_noise(images: Any, noise: Any) -> Any:
    """Moves intensities in [0, 1] to a place within their grey level.

    Args:
        images: Array or tensor of any shape, in [0, 1].
        noise: Place within the level, in [0, 1): a number, or an array or tensor of the same shape.

    Returns:
        `(255 images + noise) / 256`, in [0, 1).
    """
    return (images * (LEVELS - 1) + noise) / LEVELS


def to_level_middle(images: Any) -> Any:
    """Moves intensities in [0, 1] to (0, 1): 0 to the middle of the first grey level, 1 to that of the last."""
    return add_level_noise(images, 0.5)


def from_level_middle(images: Any) -> Any:
    """Inverts `to_level_middle`; images decoded by a flow may exceed [0, 1] slightly."""
    return (images * LEVELS - 0.5) / (LEVELS - 1)


def dequantise(images: ArrayLike, seed: Any) -> np.ndarray:
    """Rounds intensities to grey levels and adds uniform noise within each level, so that their density is bounded.

    Args:
        images: Array of any shape, in [0, 1].
        seed: Seed of the noise, see `numpy.random.default_rng`.

    Returns:
        float32 array of the same shape, in [0, 1).
    """
    levels = np.round(np.asarray(images) * (LEVELS - 1))
    # Drawn in steps of 2^-16, so that float32 holds the sum exactly and never rounds it up to 1.
    noise = np.random.default_rng(seed).integers(0, 1 << 16, levels.shape) / (1 << 16)
    return ((levels + noise) / LEVELS).astype(np.float32)


def to_uint16(images: np.ndarray) -> np.ndarray:
    """Returns float32 intensities in [0, 1] as 16-bit integers."""
    return np.round(images * np.float32(_MAX_UINT16)).astype(np.uint16)


def from_uint16(levels: np.ndarray) -> np.ndarray:
    """Returns the float32 intensities of 16-bit integers, see `to_uint16`."""
    return levels / np.float32(_MAX_UINT16)


def one_hot_poses(slices: ArrayLike, num_slices: int) -> np.ndarray:
    """Returns the poses of slices as one-hot vectors, as in the paper.

    Args:
        slices: Slice numbers in [0, num_slices), an integer array `[...]`.
        num_slices: Number of slices K of a stack.

    Returns:
        float32 array `[..., num_slices]`.

    Raises:
        ValueError: If a slice number is out of range.
    """
    slices = np.asarray(slices, np.int64)
    if slices.size and (slices.min() < 0 or slices.max() >= num_slices):
        raise ValueError(f'`slices`: slice numbers must be in [0, {num_slices}), got {slices.min()} to {slices.max()}.')
    return np.eye(num_slices, dtype=np.float32)[slices]
