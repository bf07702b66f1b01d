"""The intensities of the written volumes."""

import dataclasses

import numpy as np

from tfp_bruno.data import DatasetDefinition, Stack

# Slice-to-volume tools cast an initial target to integers: its foreground must be far above 1.
TARGET_MEAN = 700.0


@dataclasses.dataclass(frozen=True)
class IntensityScale:
    """A linear scale of intensities.

    Attributes:
        low: what 0 becomes, the background.
        high: what 1 becomes.
        description: where the scale comes from, for the sidecar.
    """

    low: float
    high: float
    description: str

    def values(self, data: np.ndarray) -> np.ndarray:
        """Returns intensities in [0, 1] as float32 on this scale."""
        return (self.low + data * (self.high - self.low)).astype(np.float32)

    def spread(self, data: np.ndarray) -> np.ndarray:
        """Returns a standard deviation of intensities in [0, 1] as float32 on this scale."""
        return (data * (self.high - self.low)).astype(np.float32)


def choose_scale(
    kind: str, stack: Stack | None, definition: DatasetDefinition, mean: np.ndarray, mask: np.ndarray
) -> IntensityScale:
    """Chooses the scale of the output.

    Args:
        kind: 'scan' for the intensities of the scan, or 'target' for background 0 and a foreground mean of 700.
        stack: the stack of the scan, or None without a scan; then 'scan' stands for the window of the dataset, or,
            where there is none, for 'target'.
        definition: the dataset.
        mean: `[X, Y, Z]` in [0, 1].
        mask: bool `[X, Y, Z]`, its foreground, not empty.

    Returns:
        The IntensityScale.
    """
    if kind == 'scan' and stack is not None:
        return IntensityScale(stack.intensity_low, stack.intensity_high, 'intensities of the scan')
    if kind == 'scan' and definition.window is not None:
        return IntensityScale(*definition.window, 'intensity window of the dataset')
    high = TARGET_MEAN / float(mean[mask].mean())
    return IntensityScale(0.0, high, f'background 0, foreground mean {TARGET_MEAN:g}')
