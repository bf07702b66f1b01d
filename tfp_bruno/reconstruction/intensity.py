"""The foreground of a completed volume, and the intensities with which it is written."""

import dataclasses

import numpy as np
from scipy import ndimage

from tfp_bruno.data import FOREGROUND_THRESHOLD, DatasetDefinition

# Slice-to-volume tools cast an initial target to integers, so its foreground must be far above 1.
TARGET_MEAN = 700.0
INTENSITIES = ('scan', 'target', 'hounsfield')


def foreground_mask(data: np.ndarray) -> np.ndarray:
    """Returns the foreground of a volume: the largest connected part above the threshold, with its holes filled.

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
    # A hole is what is not connected with the outside of the bounding box of the mask.
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    outside, _ = ndimage.label(np.pad(~mask[box], 1, constant_values=True))
    mask[box] = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return mask


@dataclasses.dataclass(frozen=True)
class IntensityScale:
    """A linear scale of intensities.

    Attributes:
        low: The value of intensity 0, the background.
        high: The value of intensity 1.
        description: The origin of the scale, for the sidecar.
        offset: Added to a written value, it gives the intensity of the scan; None if the scale is not that of a scan.
    """

    low: float
    high: float
    description: str
    offset: float | None = None

    def values(self, data: np.ndarray) -> np.ndarray:
        """Returns intensities in [0, 1] as float32 on this scale."""
        return (self.low + data * (self.high - self.low)).astype(np.float32)

    def spread(self, data: np.ndarray) -> np.ndarray:
        """Returns a standard deviation of intensities in [0, 1] as float32 on this scale."""
        return (data * (self.high - self.low)).astype(np.float32)

    def of_scan(self, data: np.ndarray, intensities: tuple[float, float]) -> np.ndarray:
        """Returns intensities of the scan as float32 on this scale, exactly if the scale is that of the scan.

        Args:
            data: Of any shape, in the units of the scan.
            intensities: The intensities of the scan that became 0 and 1.
        """
        if self.offset is not None:
            return (data - self.offset).astype(np.float32)
        low, high = intensities
        return self.values((data - low) / (high - low))


def choose_scale(
    kind: str,
    intensities: tuple[float, float] | None,
    definition: DatasetDefinition,
    mean: np.ndarray,
    mask: np.ndarray,
) -> IntensityScale:
    """Returns the scale of the written volumes.

    Args:
        kind: 'scan' for the intensities of the scan, shifted so that the background is 0 (in a dataset with a window,
            its lower end) and nothing is negative. 'target' for background 0 and a foreground mean of 700.
            'hounsfield' for the units of the window, whose lower end is the background; voxels may then be negative.
        intensities: The intensities of the scan that became 0 and 1. None without a scan: 'scan' is then the same as
            'target', except in a dataset with a window.
        definition: The dataset.
        mean: `[X, Y, Z]` in [0, 1].
        mask: bool `[X, Y, Z]`, its foreground, not empty.
    """
    window = definition.window
    if kind == 'hounsfield' and window is not None:
        return IntensityScale(*window, 'units of the window; the background is its lower end', 0.0)
    if kind != 'target' and window is not None:
        low, high = window
        return IntensityScale(0.0, high - low, f'units of the window, {-low:+g}, so that the background is 0', low)
    if kind == 'scan' and intensities is not None:
        low, high = intensities
        shift = f', {-low:+g}, so that the background is 0' if low else ''
        return IntensityScale(0.0, high - low, f'intensities of the scan{shift}', low)
    high = TARGET_MEAN / float(mean[mask].mean())
    return IntensityScale(0.0, high, f'background 0, foreground mean {TARGET_MEAN:g}')
