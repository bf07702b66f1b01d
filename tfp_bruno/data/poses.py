"""Slice numbers as pose vectors."""

import numpy as np

__all__ = ['one_hot_poses']


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
