"""What belongs to the anatomy in a completed volume."""

import numpy as np
from scipy import ndimage

from tfp_bruno.data import FOREGROUND_THRESHOLD


def foreground_mask(data: np.ndarray) -> np.ndarray:
    """Returns the foreground of a volume: the largest connected part above 0.02, its holes filled.

    Args:
        data: `[X, Y, Z]` in [0, 1].

    Returns:
        bool `[X, Y, Z]`; all False if nothing is above the threshold.
    """
    labels, count = ndimage.label(data > FOREGROUND_THRESHOLD)
    if not count:
        return np.zeros(data.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    mask = labels == sizes.argmax()
    # A hole is what is not connected with the outside of the box of the mask.
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    outside, _ = ndimage.label(np.pad(~mask[box], 1, constant_values=True))
    mask[box] = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return mask
