"""Where the anatomy of training volumes lies: the box of each file, and what the volumes of a population share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike

# Least intensity of the foreground, in [0, 1]; a plane belongs to the anatomy if it holds at least this share of the
# foreground of the fullest plane.
FOREGROUND_THRESHOLD, LEAST_AREA = 0.02, 0.01
# Stacks share a world, such as that of a template, if their corners are this close to those of their median, mm.
SHARED_WITHIN = 15.0


@dataclasses.dataclass(frozen=True)
class Box:
    """The box about the anatomy in the box of a file, along columns, rows and slices of the stack.

    Attributes:
        extent: Sides of the file's box, `[3]`, mm.
        foreground: Sides of the box about the anatomy, `[3]`, mm.
        offset: Vector from the middle of the file to the middle of the anatomy, `[3]`, mm.
        end_area: Area of the anatomy in its first or last plane, whichever is larger, as a share of the area of its
            fullest plane, `[3]`. It is small for a whole anatomy, and large for one that is cut off.
    """

    extent: np.ndarray
    foreground: np.ndarray
    offset: np.ndarray
    end_area: np.ndarray

    def to_array(self) -> np.ndarray:
        """Returns the attributes as `[4, 3]`, see `from_array`."""
        return np.stack([self.extent, self.foreground, self.offset, self.end_area])

    @classmethod
    def from_array(cls, values: ArrayLike) -> Box:
        """Returns the box whose `to_array` is given.

        Raises:
            ValueError: If the values are not those of a box.
        """
        array = np.asarray(values, np.float64)
        if array.shape != (4, 3) or not np.isfinite(array).all():
            raise ValueError(f'a box of shape {array.shape}')
        return cls(*array)


@dataclasses.dataclass(frozen=True)
class BoxRange:
    """The lowest, median and highest values of the boxes of training volumes."""

    lowest: Box
    median: Box
    highest: Box

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> BoxRange:
        """Returns the range of at least one box."""
        arrays = np.stack([box.to_array() for box in boxes])
        return cls(*(Box.from_array(statistic(arrays, axis=0)) for statistic in (np.min, np.median, np.max)))

    def to_json(self) -> dict[str, Any]:
        """Returns the range as values that JSON can hold, see `from_json`."""
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name).to_array().round(4).tolist() for field in fields}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BoxRange:
        """Returns the range whose `to_json` is given.

        Raises:
            KeyError, TypeError, ValueError: If the values are not those of a range.
        """
        return cls(*(Box.from_array(values[field.name]) for field in dataclasses.fields(cls)))


@dataclasses.dataclass(frozen=True)
class TrainingFrame:
    """What the stacks of a population have in common.

    Attributes:
        affine: Median of their affines, float64 `[4, 4]`, (w, h, k, 1) to world mm.
        spread: Median distance of a corner of a stack from the same corner of the median stack, mm.
        slice_thickness: Median thickness of the slices of the volumes, mm.
        boxes: Where the anatomy lies in the files; None for a run of an earlier version.
    """

    affine: np.ndarray
    spread: float
    slice_thickness: float
    boxes: BoxRange | None = None

    @property
    def is_shared(self) -> bool:
        """Whether the volumes share a world, so that a world position is a place in the anatomy."""
        return self.spread <= SHARED_WITHIN

    def to_json(self) -> dict[str, Any]:
        """Returns the frame as values that JSON can hold, see `from_json`."""
        return {
            'affine': self.affine.tolist(),
            'spread_mm': self.spread,
            'slice_thickness_mm': self.slice_thickness,
            'boxes': None if self.boxes is None else self.boxes.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingFrame:
        """Returns the frame whose `to_json` is given.

        Raises:
            KeyError, TypeError, ValueError: If the values are not those of a frame.
        """
        affine = np.array(values['affine'], np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f'an affine of shape {affine.shape}')
        boxes = None if values.get('boxes') is None else BoxRange.from_json(values['boxes'])
        return cls(affine, float(values['spread_mm']), float(values['slice_thickness_mm']), boxes)


def measure_box(scaled: np.ndarray, spacing: np.ndarray) -> Box:
    """Measures where the anatomy lies in a volume.

    Args:
        scaled: Intensities in [0, 1], background 0, `[W, H, K]` along columns, rows and slices of the stack.
        spacing: Sides of a voxel, `[3]`, mm.

    Returns:
        The box; a volume without foreground counts as foreground throughout.
    """
    foreground = scaled > FOREGROUND_THRESHOLD
    shape = np.array(scaled.shape, np.float64)
    first, last, end_area = np.zeros(3), shape.copy(), np.ones(3)
    for axis in range(3):
        area = np.count_nonzero(foreground, axis=tuple(other for other in range(3) if other != axis))
        if area.any():
            planes = np.flatnonzero(area > LEAST_AREA * area.max())
            first[axis], last[axis] = planes[0], planes[-1] + 1
            end_area[axis] = max(area[planes[0]], area[planes[-1]]) / area.max()
    return Box(shape * spacing, (last - first) * spacing, ((first + last) / 2 - shape / 2) * spacing, end_area)


def common_frame(
    affines: Sequence[np.ndarray], thicknesses: Sequence[float], boxes: Sequence[Box], shape: tuple[int, ...]
) -> TrainingFrame:
    """Returns what stacks have in common.

    Args:
        affines: Affine of each stack, `[4, 4]`, (w, h, k, 1) to world mm.
        thicknesses: Thickness of the slices of each volume, mm.
        boxes: Boxes of the training volumes.
        shape: Shape (K, H, W) of a stack.
    """
    affine = np.median(affines, axis=0)
    corners = np.stack(np.meshgrid(*[(0, length - 1) for length in reversed(shape)]), -1).reshape(-1, 3)
    wanted = nibabel.affines.apply_affine(affine, corners)
    distances = [np.linalg.norm(nibabel.affines.apply_affine(a, corners) - wanted, axis=1).mean() for a in affines]
    return TrainingFrame(affine, float(np.median(distances)), float(np.median(thicknesses)), BoxRange.of(boxes))
