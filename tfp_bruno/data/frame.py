"""What the volumes of a population have in common: their world, the place of the anatomy in its file, slices."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel
import numpy as np

from tfp_bruno.data.placement import Box, BoxRange

# Stacks whose corners lie within this distance of their median, mm, share a world: that of a template, for example.
SHARED_WITHIN = 15.0


@dataclasses.dataclass(frozen=True)
class TrainingFrame:
    """What the stacks of a population have in common.

    Attributes:
        affine: float64 `[4, 4]`, the median of their affines, (w, h, k, 1) to world mm.
        spread: median distance of a corner of a stack from the same corner of the median one, mm.
        slice_thickness: median thickness of the slices of the volumes, mm.
        boxes: where the anatomy lies in the files; None for a run of an earlier version.
    """

    affine: np.ndarray
    spread: float
    slice_thickness: float
    boxes: BoxRange | None = None

    @property
    def is_shared(self) -> bool:
        """Whether the volumes lie in one world, so that a world position says where in the anatomy it is."""
        return self.spread <= SHARED_WITHIN

    def to_json(self) -> dict[str, Any]:
        """Returns the frame as values that JSON can hold; `from_json` takes them back."""
        return {
            'affine': self.affine.tolist(),
            'spread_mm': self.spread,
            'slice_thickness_mm': self.slice_thickness,
            'boxes': None if self.boxes is None else self.boxes.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> 'TrainingFrame':
        """Returns the frame that `to_json` described; a KeyError, TypeError or ValueError says that it is none."""
        affine = np.array(values['affine'], np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f'an affine of shape {affine.shape}')
        boxes = None if values.get('boxes') is None else BoxRange.from_json(values['boxes'])
        return cls(affine, float(values['spread_mm']), float(values['slice_thickness_mm']), boxes)


def common_frame(
    affines: Sequence[np.ndarray], thicknesses: Sequence[float], boxes: Sequence[Box], shape: tuple[int, int, int]
) -> TrainingFrame:
    """Returns what stacks have in common.

    Args:
        affines: `[4, 4]` of each, (w, h, k, 1) to world mm.
        thicknesses: of the slices of each volume, mm.
        boxes: where the anatomy lies in the files of training subjects.
        shape: (K, H, W).

    Returns:
        The TrainingFrame.
    """
    affine = np.median(affines, axis=0)
    corners = np.stack(np.meshgrid(*[(0, length - 1) for length in reversed(shape)]), -1).reshape(-1, 3)
    wanted = nibabel.affines.apply_affine(affine, corners)
    distances = [np.linalg.norm(nibabel.affines.apply_affine(a, corners) - wanted, axis=1).mean() for a in affines]
    return TrainingFrame(affine, float(np.median(distances)), float(np.median(thicknesses)), BoxRange.of(boxes))
