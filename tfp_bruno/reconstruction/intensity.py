"""The intensities of the written volumes."""

import dataclasses

import numpy as np

from tfp_bruno.data import DatasetDefinition

# Slice-to-volume tools cast an initial target to integers: its foreground must be far above 1.
TARGET_MEAN = 700.0
INTENSITIES = ('scan', 'target', 'hounsfield')


@dataclasses.dataclass(frozen=True)
class IntensityScale:
    """A linear scale of intensities.

    Attributes:
        low: what 0 becomes, the background.
        high: what 1 becomes.
        description: where the scale comes from, for the sidecar.
        offset: what has to be added to a written value to have the scan's own; None where no scan has the scale.
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
        """Returns intensities of the scan as float32 on this scale, as they are where both are the same.

        Args:
            data: any shape, in the units of the scan.
            intensities: what became 0 and 1.
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
    """Chooses the scale of the output.

    Args:
        kind: 'scan' for the intensities of the scan, shifted so that the background, of a dataset with a window its
            lower end, is 0 and nothing negative. 'target' for background 0 and a foreground mean of 700. 'hounsfield'
            for the units of the window, where the background is its lower end; no contract holds.
        intensities: those of the scan that became 0 and 1; None without a scan, which 'scan' then stands for 'target',
            but for a dataset with a window.
        definition: the dataset.
        mean: `[X, Y, Z]` in [0, 1].
        mask: bool `[X, Y, Z]`, its foreground, not empty.

    Returns:
        The IntensityScale.
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
