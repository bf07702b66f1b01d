"""Where the stack of the model lies in a volume, and whether the anatomy lies there as in the training data.

The stack is centred on the file, and its slices divide the file's extent. That is right only if the anatomy lies in the
file as it did in the files of the training data. A padded, cropped, partial or unmasked scan would be squeezed or
shifted without this check.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfp_bruno.errors import UserError, warn

AXES = ('columns', 'rows', 'slices')
# An intensity in [0, 1] above this belongs to the anatomy. Evaluation, training and reconstruction use the same one.
FOREGROUND_THRESHOLD = 0.02
# A plane belongs to the anatomy if it holds this share of the foreground of the fullest plane.
LEAST_AREA = 0.01
# Factors by which the anatomy may be smaller or larger than any in the training data: with a warning, and at most.
UNUSUAL_SIZE, MOST_UNUSUAL_SIZE = 1.1, 1.5
# By how much larger than in the training data an end of the anatomy may be: anyway, and for each mm of a voxel, as a
# share of the anatomy's length. Twice the step would be the end of an ellipsoid.
END_TOLERANCE, END_STEP = 0.1, 4.0
# The same across the slices of a volume that holds a part of the anatomy: a slab ends more bluntly than an ellipsoid.
PART_END_TOLERANCE = 0.5
# How much further off the middle of its file the anatomy may lie than in the training data, as a share of its size.
OFFSET_TOLERANCE = 0.1
# The same for a few slices, whose middle is not that of the whole anatomy.
SLICE_OFFSET_TOLERANCE = 0.25
# Extents of training files that differ by less, as a factor, are taken for one field of view.
COMMON_EXTENT = 1.1


@dataclasses.dataclass(frozen=True)
class Box:
    """The anatomy in the box of a file, along columns, rows and slices of the stack.

    Attributes:
        extent: `[3]`, sides of the file's box, mm.
        foreground: `[3]`, sides of the box about the anatomy, mm.
        offset: `[3]`, from the middle of the file to the middle of the anatomy, mm.
        end_area: `[3]`, area of the anatomy in its first or last plane, whichever is larger, as a share of the area of
            its fullest plane. An anatomy that is whole ends in a tip, one that is cut off does not.
    """

    extent: np.ndarray
    foreground: np.ndarray
    offset: np.ndarray
    end_area: np.ndarray

    def to_array(self) -> np.ndarray:
        """Returns the attributes as `[4, 3]`; `from_array` takes them back."""
        return np.stack([self.extent, self.foreground, self.offset, self.end_area])

    @classmethod
    def from_array(cls, values) -> 'Box':
        """Returns the box that `to_array` described; a ValueError says that it is none."""
        array = np.asarray(values, np.float64)
        if array.shape != (4, 3) or not np.isfinite(array).all():
            raise ValueError(f'a box of shape {array.shape}')
        return cls(*array)


@dataclasses.dataclass(frozen=True)
class BoxRange:
    """The lowest, median and highest values of the boxes of the training data."""

    lowest: Box
    median: Box
    highest: Box

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> 'BoxRange':
        """Returns the range of at least one box."""
        arrays = np.stack([box.to_array() for box in boxes])
        return cls(*(Box.from_array(statistic(arrays, axis=0)) for statistic in (np.min, np.median, np.max)))

    def to_json(self) -> dict[str, Any]:
        """Returns the range as values that JSON can hold; `from_json` takes them back."""
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name).to_array().round(4).tolist() for field in fields}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> 'BoxRange':
        """Returns the range that `to_json` described; a KeyError, TypeError or ValueError says that it is none."""
        return cls(*(Box.from_array(values[field.name]) for field in dataclasses.fields(cls)))


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the stack lies along columns, rows and slices.

    Attributes:
        centre: `[3]`, from the middle of the file to the middle of the stack, mm.
        depth: what the slices of the stack divide, before `stack_share`, mm.
    """

    centre: np.ndarray
    depth: float


def measure_box(scaled: np.ndarray, spacing: np.ndarray) -> Box:
    """Measures where the anatomy lies in a volume.

    Args:
        scaled: `[W, H, K]` in [0, 1], background 0, along columns, rows and slices of the stack.
        spacing: `[3]`, sides of a voxel, mm.

    Returns:
        The Box. A volume without foreground counts as foreground throughout.
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


def place_stack(
    box: Box,
    spacing: np.ndarray,
    seen: BoxRange | None,
    path: str | os.PathLike,
    shared_centre: np.ndarray | None = None,
    partial: bool = False,
) -> Placement:
    """Decides where the stack lies in a volume.

    As long as the anatomy lies in the file as it did in some training volume, the stack is that of the file. Otherwise
    the file is padded or cropped, and the stack is placed, with a warning, by the first of these that puts the anatomy
    where it was in some training volume: where the training volumes have the stack in the world that they share; with
    the extent of the training files, about the middle of the file or from one of its ends. Failing that, the anatomy
    gets its most usual place.

    Args:
        box: of the volume.
        spacing: `[3]`, sides of its voxels, mm.
        seen: what the training data have; None for no check, as for a training volume.
        path: the file, for messages.
        shared_centre: `[3]`, from the middle of the file to the middle of the training volumes' stacks, mm, where those
            share a world and the volume may lie in it; None otherwise.
        partial: whether the volume may hold less of the anatomy along its slices than all of it.

    Returns:
        The Placement.

    Raises:
        UserError: if the anatomy is cut off, or much smaller or larger than any anatomy of the training data.
    """
    unmoved = Placement(np.zeros(3), float(box.extent[2]))
    if seen is None:
        return unmoved
    check_box(box, spacing, seen, path, partial)
    known = np.array([True, True, not partial])
    shared = bool(np.all(seen.highest.extent < COMMON_EXTENT * seen.lowest.extent))
    other_extent = (box.extent < seen.lowest.extent - spacing) | (box.extent > seen.highest.extent + spacing)
    tolerance = np.maximum(spacing, OFFSET_TOLERANCE * seen.median.foreground)
    low, high = seen.lowest.offset - tolerance, seen.highest.offset + tolerance

    def is_usual(centre):
        offset = box.offset - centre
        return ~known | ((low <= offset) & (offset <= high))

    if other_extent[2] and not shared:
        warn(
            f'{path}: is {box.extent[2]:.0f} mm long along its slices, the training volumes are '
            f'{_interval(seen.lowest.extent[2], seen.highest.extent[2])} mm; the completion may be stretched.'
        )
    wrong = ~is_usual(np.zeros(3)) | (other_extent & shared)
    depth = float(seen.median.extent[2] if shared and other_extent[2] else box.extent[2])
    if not wrong.any():
        return unmoved
    centre = shared_centre
    if centre is None or not is_usual(centre).all():
        half = (box.extent - seen.median.extent) / 2
        centre = np.where(known, box.offset - seen.median.offset, 0.0)
        for middle in (-half, half, np.zeros(3)) if shared else (np.zeros(3),):
            centre = np.where(is_usual(middle), middle, centre)
        centre = np.where(wrong, centre, 0.0)
    if not np.allclose(centre, 0.0, atol=1e-6) or depth != unmoved.depth:
        warn(
            f'{path}: does not lie in its file as the training volumes do in theirs ({_difference(box, seen, wrong)}), '
            'as if padded, cropped or off centre; the field of view was placed about its foreground.'
        )
    return Placement(centre, depth)


def check_in_plane(images: np.ndarray, pixel_spacing: float, seen: BoxRange | None, path: str | os.PathLike) -> None:
    """Checks that slices of a stack that was placed without them show the anatomy where the training data have it.

    Args:
        images: `[n, H, W]` in [0, 1], n >= 1.
        pixel_spacing: side of a pixel, mm.
        seen: what the training data have; None for no check.
        path: where the slices come from.

    Raises:
        UserError: if the anatomy is much larger than any of the training data, or lies elsewhere in the plane.
    """
    if seen is None:
        return
    # Along the slices, nothing is known: as long as it usually is.
    step = seen.median.foreground[2] / len(images)
    box = measure_box(images.transpose(2, 1, 0), np.array([pixel_spacing, pixel_spacing, step]))
    _check_size(box, seen, path, partial=True)
    tolerance = SLICE_OFFSET_TOLERANCE * seen.median.foreground
    excess = np.maximum(seen.lowest.offset - tolerance - box.offset, box.offset - seen.highest.offset - tolerance)
    axis = int(np.argmax(excess[:2]))
    if excess[axis] > 0:
        raise UserError(
            f'{path}: its anatomy lies {box.offset[axis]:+.0f} mm off the middle of the field of view along its '
            f'{AXES[axis]}, in the training volumes {_interval(seen.lowest.offset[axis], seen.highest.offset[axis])} '
            'mm; give a --reference in the world of the slices that shows the whole anatomy.'
        )


def warn_of_outliers(boxes: Sequence[Box], paths: Sequence[str | os.PathLike]) -> None:
    """Warns of training volumes whose anatomy has another size, or lies elsewhere in its file, than most others'."""
    median = BoxRange.of(boxes).median
    for box, path in zip(boxes, paths, strict=True):
        ratio = np.array([box.extent / median.extent, box.foreground / median.foreground])
        shift = np.abs(box.offset - median.offset)
        if np.max(np.maximum(ratio, 1 / ratio)) > 2 or np.any(shift > median.foreground / 4):
            warn(
                f'{path}: its anatomy has another size, or lies elsewhere in its file, than most others '
                f'({_difference(box, BoxRange(median, median, median), np.ones(3, bool))}); crop or pad it as they are.'
            )


def check_box(box: Box, spacing: np.ndarray, seen: BoxRange, path: str | os.PathLike, partial: bool) -> None:
    """Checks the anatomy of a volume against that of the training data; arguments and errors as of `place_stack`."""
    _check_ends(box, spacing, seen, path, partial)
    _check_size(box, seen, path, partial)


def _check_ends(box: Box, spacing: np.ndarray, seen: BoxRange, path: str | os.PathLike, partial: bool) -> None:
    """Raises a UserError if the anatomy is cut off along an axis."""
    tolerance = END_TOLERANCE + END_STEP * spacing / box.foreground
    if partial:
        tolerance = np.array([PART_END_TOLERANCE, PART_END_TOLERANCE, np.inf])
    excess = box.end_area - seen.highest.end_area - tolerance
    axis = int(np.argmax(excess))
    if excess[axis] > 0:
        mend = '' if partial else 'give --reference, a volume in the same world that shows all of it, or '
        raise UserError(
            f'{path}: its anatomy is cut off at the first or last of its {AXES[axis]} ({box.end_area[axis]:.0%} of its '
            f'largest area lies there, in training volumes at most {seen.highest.end_area[axis]:.0%}), so its place is '
            f'unknown; {mend}give --mask if something else is around it.'
        )


def _check_size(box: Box, seen: BoxRange, path: str | os.PathLike, partial: bool) -> None:
    """Warns of an anatomy of unusual size; raises a UserError if it cannot be the one that the model knows."""
    low, high = seen.lowest.foreground, seen.highest.foreground
    factor = box.foreground / high
    if not partial:
        factor = np.maximum(factor, low / box.foreground)
    axis = int(np.argmax(factor))
    if factor[axis] <= UNUSUAL_SIZE:
        return
    found = (
        f'{path}: its anatomy is {box.foreground[axis]:.0f} mm long along its {AXES[axis]}, in the training volumes it '
        f'is {_interval(low[axis], high[axis])} mm'
    )
    if factor[axis] > MOST_UNUSUAL_SIZE:
        raise UserError(
            f'{found}; check the voxel size in its header, give --reference if it shows only a part, or --mask if it '
            'shows more.'
        )
    warn(f'{found}; the completion may be worse for it.')


def _difference(box: Box, seen: BoxRange, axes: np.ndarray) -> str:
    """Returns extents and offsets that differ from the training data's, in words."""
    parts = []
    for axis in np.flatnonzero(axes):
        usual = _interval(seen.lowest.extent[axis], seen.highest.extent[axis])
        offsets = _interval(seen.lowest.offset[axis], seen.highest.offset[axis])
        parts.append(
            f'{AXES[axis]}: {box.extent[axis]:.0f} mm (usually {usual}), anatomy {box.offset[axis]:+.0f} mm off the '
            f'middle (usually {offsets})'
        )
    return '; '.join(parts)


def _interval(low: float, high: float) -> str:
    """Returns a range of mm as text, one number where both ends are the same."""
    return f'{low:.0f}' if round(low) == round(high) else f'{low:.0f} to {high:.0f}'
