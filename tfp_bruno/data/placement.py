"""The place of the model's stack in a volume, checked against the training data.

The stack is centred on the file, and its slices divide the file's extent. That is correct only if the anatomy lies in
the file as it does in the training files. Without this check, a padded, cropped, partial or unmasked scan would be
squeezed or shifted.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from tfp_bruno.data.frame import Box, BoxRange, measure_box
from tfp_bruno.errors import UserError, warn

AXES = ('columns', 'rows', 'slices')
# Factors by which the anatomy may be smaller or larger than any in the training data: without a warning, and at most.
UNUSUAL_SIZE, MOST_UNUSUAL_SIZE = 1.1, 1.5
# Amount by which `end_area` may exceed that of the training data: a constant plus a factor of the voxel's side as a
# share of the anatomy's length. To first order, an ellipsoid one voxel from its tip has the factor 4.
END_TOLERANCE, END_STEP = 0.1, 4.0
# The same along columns and rows of a volume that holds a part of the anatomy: a slab ends more bluntly.
PART_END_TOLERANCE = 0.5
# Amount by which the offset of the anatomy may exceed that of the training data, as a share of its size.
OFFSET_TOLERANCE = 0.1
# The same for a few slices, whose middle differs from that of the whole anatomy.
SLICE_OFFSET_TOLERANCE = 0.25
# Training files whose extents differ by less than this factor share one field of view.
COMMON_EXTENT = 1.1


@dataclasses.dataclass(frozen=True)
class Placement:
    """Place of the stack along columns, rows and slices.

    Attributes:
        centre: Vector from the middle of the file to the middle of the stack, `[3]`, mm.
        depth: Length that the slices of the stack divide, before `stack_share`, mm.
    """

    centre: np.ndarray
    depth: float


def place_stack(
    box: Box,
    spacing: np.ndarray,
    seen: BoxRange | None,
    path: str | os.PathLike,
    shared_centre: np.ndarray | None = None,
    partial: bool = False,
) -> Placement:
    """Places the stack in a volume.

    If the anatomy lies in the file as in some training volume, the stack is that of the file. Otherwise the file is
    padded or cropped, and the stack is placed, with a warning, by the first of these rules that puts the anatomy where
    it is in some training volume:

    1. The stack is where the training volumes, which share a world, have it.
    2. The stack has the extent of the training files, and is centred on the file or begins at one of its ends.
    3. The anatomy is at the median place of the training data.

    Args:
        box: Box of the volume.
        spacing: Sides of its voxels, `[3]`, mm.
        seen: Boxes of the training data; None for no check, as for a training volume.
        path: The file, for messages.
        shared_centre: Vector from the middle of the file to the middle of the training volumes' stacks, `[3]`, mm, if
            those share a world and the volume may lie in it; None otherwise.
        partial: Whether the volume may hold only a part of the anatomy along its slices.

    Raises:
        UserError: If the anatomy is cut off, or much smaller or larger than any anatomy of the training data.
    """
    unmoved = Placement(np.zeros(3), float(box.extent[2]))
    if seen is None:
        return unmoved
    check_box(box, spacing, seen, path, partial)
    known = np.array([True, True, not partial])
    shared = bool(np.all(seen.highest.extent < COMMON_EXTENT * seen.lowest.extent))
    other_extent = _has_other_extent(box, spacing, seen)

    def is_usual(centre: np.ndarray) -> np.ndarray:
        return ~known | _is_usual_offset(box.offset - centre, spacing, seen)

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
            f'{path}: its extent, or the place of its anatomy, differs from the training volumes '
            f'({_difference(box, seen, wrong)}), as if padded, cropped or off centre; the field of view was placed '
            'about its foreground.'
        )
    return Placement(centre, depth)


def lies_as_in_training(box: Box, spacing: np.ndarray, seen: BoxRange) -> bool:
    """Returns whether a file has the extent of a training file, and the anatomy lies in it as in one.

    Args:
        box: Box of the volume.
        spacing: Sides of its voxels, `[3]`, mm.
        seen: Boxes of the training data.
    """
    return not _has_other_extent(box, spacing, seen).any() and bool(_is_usual_offset(box.offset, spacing, seen).all())


def check_in_plane(images: np.ndarray, pixel_spacing: float, seen: BoxRange | None, path: str | os.PathLike) -> None:
    """Checks that slices show the anatomy where the training data have it, if the stack was placed without them.

    Args:
        images: Slices `[n, H, W]` in [0, 1], n >= 1.
        pixel_spacing: Side of a pixel, mm.
        seen: Boxes of the training data; None for no check.
        path: File or folder of the slices, for messages.

    Raises:
        UserError: If the anatomy is much larger than any of the training data, or lies elsewhere in the plane.
    """
    if seen is None:
        return
    # The length along the slices is unknown, so it is the median length.
    step = seen.median.foreground[2] / len(images)
    box = measure_box(images.transpose(2, 1, 0), np.array([pixel_spacing, pixel_spacing, step]))
    check_size(box, seen, path, partial=True)
    tolerance = SLICE_OFFSET_TOLERANCE * seen.median.foreground
    excess = np.maximum(seen.lowest.offset - tolerance - box.offset, box.offset - seen.highest.offset - tolerance)
    axis = int(np.argmax(excess[:2]))
    if excess[axis] > 0:
        raise UserError(
            f'{path}: its anatomy lies {box.offset[axis]:+.0f} mm off the middle of the field of view along its '
            f'{AXES[axis]}, in the training volumes {_interval(seen.lowest.offset[axis], seen.highest.offset[axis])} '
            'mm; give a `reference` in the world of the slices that shows the whole anatomy.'
        )


def warn_of_outliers(boxes: Sequence[Box], paths: Sequence[str | os.PathLike]) -> None:
    """Warns of training volumes whose anatomy differs from most others in size, or in its place in the file."""
    median = BoxRange.of(boxes).median
    for box, path in zip(boxes, paths, strict=True):
        ratio = np.array([box.extent / median.extent, box.foreground / median.foreground])
        shift = np.abs(box.offset - median.offset)
        if np.max(np.maximum(ratio, 1 / ratio)) > 2 or np.any(shift > median.foreground / 4):
            warn(
                f'{path}: its anatomy differs from most others in size, or in its place in the file '
                f'({_difference(box, BoxRange(median, median, median), np.ones(3, bool))}); crop or pad it like them.'
            )


def check_box(box: Box, spacing: np.ndarray, seen: BoxRange, path: str | os.PathLike, partial: bool) -> None:
    """Checks size and ends of the anatomy of a volume; arguments and errors are those of `place_stack`."""
    check_ends(box, spacing, seen, path, partial)
    check_size(box, seen, path, partial)


def _has_other_extent(box: Box, spacing: np.ndarray, seen: BoxRange) -> np.ndarray:
    """Returns whether a file is shorter or longer than all training files along each axis, bool `[3]`."""
    return (box.extent < seen.lowest.extent - spacing) | (box.extent > seen.highest.extent + spacing)


def _is_usual_offset(offset: np.ndarray, spacing: np.ndarray, seen: BoxRange) -> np.ndarray:
    """Returns whether an anatomy lies about as far off the middle as in some training file along each axis."""
    tolerance = np.maximum(spacing, OFFSET_TOLERANCE * seen.median.foreground)
    return (seen.lowest.offset - tolerance <= offset) & (offset <= seen.highest.offset + tolerance)


def check_ends(box: Box, spacing: np.ndarray, seen: BoxRange, path: str | os.PathLike, partial: bool) -> None:
    """Raises a UserError if the anatomy is cut off along an axis."""
    tolerance = END_TOLERANCE + END_STEP * spacing / box.foreground
    if partial:
        tolerance = np.array([PART_END_TOLERANCE, PART_END_TOLERANCE, np.inf])
    excess = box.end_area - seen.highest.end_area - tolerance
    axis = int(np.argmax(excess))
    if excess[axis] > 0:
        remedy = '' if partial else 'give a `reference`, a volume in the same world that shows all of it, or '
        raise UserError(
            f'{path}: its anatomy is cut off at the first or last of its {AXES[axis]} ({box.end_area[axis]:.0%} of its '
            f'largest area lies there, in training volumes at most {seen.highest.end_area[axis]:.0%}), so its place is '
            f'unknown; {remedy}give a `mask` if something else is around it.'
        )


def check_size(box: Box, seen: BoxRange, path: str | os.PathLike, partial: bool = False) -> None:
    """Warns of an anatomy of unusual size; raises a UserError if it cannot be the one the model was trained on."""
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
            f'{found}; check the voxel size in its header, give a `reference` if it shows only a part, or a `mask` if '
            'it shows more.'
        )
    warn(f'{found}; the completion may be worse for it.')


def _difference(box: Box, seen: BoxRange, axes: np.ndarray) -> str:
    """Returns extents and offsets along some axes, and those of the training data, in words."""
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
    """Returns a range in mm as text: one number if both ends are the same when rounded."""
    return f'{low:.0f}' if round(low) == round(high) else f'{low:.0f} to {high:.0f}'
