"""Size and place of the anatomy in a stack.

Subjects that are brought to one size and place differ only in shape and grey levels. Size and place are six numbers:
the standard deviation and the mean of the foreground's indices along the three axes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_FOREGROUND = 0.02
_SMALLEST_SIZE = 0.5


class Frame(NamedTuple):
    """Size and place of the anatomy in a stack.

    Attributes:
        size: `[3]`, standard deviation of the foreground's indices along (K, H, W).
        place: `[3]`, their mean.
    """

    size: np.ndarray
    place: np.ndarray

    @classmethod
    def measure(cls, stack: np.ndarray) -> 'Frame':
        """Returns the frame of a whole stack `[K, H, W]`; that of a full stack if it has no foreground."""
        foreground = stack > _FOREGROUND
        if not foreground.any():
            foreground = np.ones(stack.shape, bool)
        moments = []
        for axis in range(3):
            counts = foreground.sum(axis=tuple(np.delete(range(3), axis)))
            index, weights = np.arange(len(counts)), counts / counts.sum()
            mean = weights @ index
            moments.append((np.sqrt(weights @ np.square(index - mean)), mean))
        size, place = np.array(moments).T
        return cls(np.maximum(size, _SMALLEST_SIZE), place)

    def to(self, other: 'Frame', points: np.ndarray, axis: int) -> np.ndarray:
        """Returns the coordinates along one axis, in a stack of another frame, of coordinates in one of this frame."""
        return other.place[axis] + (points - self.place[axis]) * (other.size[axis] / self.size[axis])


def mean_frame(frames: Sequence[Frame]) -> Frame:
    """Returns the mean of frames, geometric in size."""
    log_sizes, places = np.log([frame.size for frame in frames]), [frame.place for frame in frames]
    return Frame(np.exp(log_sizes.mean(axis=0)), np.mean(places, axis=0))
