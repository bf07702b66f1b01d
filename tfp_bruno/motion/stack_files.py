"""Reads stacks from NIfTI files, and checks that they can belong together."""

import os
import pathlib
from collections.abc import Sequence

import nibabel
import numpy as np

from tfp_bruno.data import read_mask, read_volume
from tfp_bruno.errors import UserError, warn
from tfp_bruno.motion.protocol import check_thickness
from tfp_bruno.motion.slices import SliceStack

# A stack whose slices correlate with the target less than those of the others by this much is named.
STRANGE = 0.1


def read_stack(
    path: str | os.PathLike, mask_path: str | os.PathLike | None = None, thickness: float | None = None
) -> SliceStack:
    """Reads a stack whose slices may have moved.

    The slices lie along the axis that the header names, or else along that of the thickest voxels. Each slice is a
    batch of its own, as the file does not say which were taken together.

    Args:
        path: NIfTI file.
        mask_path: NIfTI file of the mask of the anatomy, on the same grid; None for all voxels above 0.
        thickness: Of the slices, mm; None for their spacing.

    Returns:
        The stack, named by the path; slices that are empty inside the mask cause a warning.

    Raises:
        UserError: If a file cannot be used, the mask is on another grid, there is only one slice, or the thickness
            contradicts the spacing.
    """
    path = pathlib.Path(path)
    volume = read_volume(path)
    mask = volume.data > 0 if mask_path is None else read_mask(mask_path, volume)
    spacing = nibabel.affines.voxel_sizes(volume.affine)
    axis = int(np.argmax(spacing)) if volume.slice_axis is None else volume.slice_axis
    # A cyclic permutation keeps the handedness.
    order = np.roll(range(3), 2 - axis)
    data = volume.data.transpose(order)
    if data.shape[2] < 2:
        raise UserError(f'{path}: is one slice, not a stack; give a stack of at least 2 slices.')
    thickness = float(spacing[axis]) if thickness is None else thickness
    check_thickness(thickness, float(spacing[axis]), str(path))
    stack = SliceStack(
        str(path),
        data,
        mask.transpose(order),
        volume.affine[:, [*order, 3]],
        thickness,
        np.arange(data.shape[2]),
    )
    _warn_of_empty(stack)
    return stack


def check_overlap(stacks: Sequence[SliceStack]) -> None:
    """Checks that the anatomy of each stack lies where that of another one does.

    Args:
        stacks: At least one stack; a single one is not checked.

    Raises:
        UserError: If the box around the mask of a stack touches that of no other stack.
    """
    boxes = [_mask_box(stack) for stack in stacks]
    for index, (stack, (low, high)) in enumerate(zip(stacks, boxes, strict=True)):
        others = [box for other, box in enumerate(boxes) if other != index]
        if others and not any((low <= top).all() and (bottom <= high).all() for bottom, top in others):
            raise UserError(
                f'{stack.name}: overlaps with no other stack in the world; leave it out, or correct its header.'
            )


def warn_of_strangers(stacks: Sequence[SliceStack], correlations: Sequence[np.ndarray]) -> list[str]:
    """Warns of stacks that agree with the target much less than the others do: perhaps of another subject.

    Args:
        stacks: The stacks; fewer than 3 are not compared.
        correlations: Of each slice with the target after registration, NaN for none, `[N]` for each stack.

    Returns:
        The names of these stacks: their median correlation is lower than the median of the other stacks' by 0.1.
    """
    medians = np.array([np.median(own[np.isfinite(own)]) if np.isfinite(own).any() else 0.0 for own in correlations])
    strangers = []
    for index, stack in enumerate(stacks):
        others = np.delete(medians, index)
        if len(others) > 1 and medians[index] < np.median(others) - STRANGE:
            warn(
                f'{stack.name}: its slices correlate with the target by {medians[index]:.2f}, those of the others by '
                f'{np.median(others):.2f}; check that it shows the same subject.'
            )
            strangers.append(stack.name)
    return strangers


def _mask_box(stack: SliceStack) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and highest world coordinates of the mask."""
    points = nibabel.affines.apply_affine(stack.affine, np.argwhere(stack.mask))
    return points.min(axis=0), points.max(axis=0)


def _warn_of_empty(stack: SliceStack) -> None:
    """Warns of slices in which the mask marks something, but every voxel in it is 0."""
    marked = stack.mask.any(axis=(0, 1))
    empty = np.flatnonzero(marked & ~np.where(stack.mask, stack.data, 0).any(axis=(0, 1)))
    if len(empty):
        warn(f'{stack.name}: slices {", ".join(map(str, empty))} are 0 inside the mask; they are not used.')
