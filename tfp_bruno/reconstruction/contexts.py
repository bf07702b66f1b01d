"""The context slices of a subject on the grid of the model, and how they are taken from a scan."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfp_bruno.data import DatasetDefinition, Slicer, Stack, TrainingFrame, Volume, read_mask, read_volume
from tfp_bruno.data.masks import is_label_map
from tfp_bruno.data.placement import check_in_plane
from tfp_bruno.errors import UserError, warn
from tfp_bruno.reconstruction.alignment import check_acquired_axis, check_thickness, check_tilt, slice_axis
from tfp_bruno.reconstruction.output_grid import centred_stack_affine
from tfp_bruno.reconstruction.positions import SliceSelection


@dataclasses.dataclass(frozen=True)
class Contexts:
    """The n context slices of a subject.

    Attributes:
        positions: Their slice numbers k in the model's stack, ascending.
        images: float32 `[n, H, W]` in [0, 1].
        affine: float64 `[4, 4]` of the stack that they belong to, (w, h, k, 1) to world RAS mm.
        intensities: The intensities of the files that became 0 and 1; None if nothing was read.
        given: The slices as they were read: volumes with one voxel along one axis.
        files: The files that were read.
        slice_thickness: In mm; None if nothing was read.
        stack: Positions `[m]` and images float32 `[m, H, W]` of all slices of the scan; None without a scan.
        selection: How the slices were chosen, for the sidecar.
        placing: How the stack was placed about the anatomy, for sidecar and report; None if by the file.
        inputs: Role, path and SHA-256 of every file that was read, see `describe_inputs`.
        warnings: The warnings about the files, one line each.
    """

    positions: tuple[int, ...]
    images: np.ndarray
    affine: np.ndarray
    intensities: tuple[float, float] | None = None
    given: Sequence[Volume] = ()
    files: Sequence[str] = ()
    slice_thickness: float | None = None
    stack: tuple[np.ndarray, np.ndarray] | None = None
    selection: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    placing: Mapping[str, Any] | None = None
    inputs: Sequence[Mapping[str, str]] = ()
    warnings: Sequence[str] = ()

    def in_world(self, world: np.ndarray) -> Contexts:
        """Returns the contexts in another world, given the rigid transformation `[4, 4]` to it."""
        given = [dataclasses.replace(volume, affine=world @ volume.affine) for volume in self.given]
        return dataclasses.replace(self, affine=world @ self.affine, given=given)


def no_contexts(definition: DatasetDefinition) -> Contexts:
    """Returns the contexts of the atlas: none, in a stack centred on world 0."""
    empty = np.zeros((0, definition.image_size, definition.image_size), np.float32)
    return Contexts((), empty, centred_stack_affine(definition))


def read_scan(
    path: str | os.PathLike, mask_path: str | os.PathLike | None, assume_ras: bool
) -> tuple[Volume, np.ndarray | None]:
    """Reads a scan and its mask, and warns if the scan looks like a label map."""
    scan = read_volume(path, assume_ras)
    mask = None if mask_path is None else read_mask(mask_path, scan, assume_ras)
    if is_label_map(scan.data):
        warn(f'{path}: looks like a label map or a mask; its labels are read as intensities.')
    return scan, mask


def contexts_of_scan(
    scan: Volume,
    selection: SliceSelection,
    definition: DatasetDefinition,
    mask: np.ndarray | None = None,
    frame: TrainingFrame | None = None,
    affine: np.ndarray | None = None,
) -> Contexts:
    """Takes context slices from a scan.

    Args:
        scan: The scan that holds the slices.
        selection: Which slices.
        definition: The dataset of the model.
        mask: bool, of the shape of the scan: everything outside becomes background. None for no mask.
        frame: What the training volumes have in common: the stack is placed about the anatomy as in theirs. None for
            no check.
        affine: `[4, 4]` of the stack, (w, h, k, 1) to world mm, if it is known from elsewhere, such as a reference.

    Returns:
        The Contexts. An empty slice between others of the scan is left out, with a warning.

    Raises:
        UserError: If the anatomy cannot be located, a slice is outside the scan or the stack, or all slices are empty.
    """
    check_acquired_axis(scan, definition, by_own_slices=bool(selection.scan_slices))
    return contexts_of_slicer(Slicer(scan, definition, mask), selection, definition, mask, frame, affine)


def contexts_of_slicer(
    slicer: Slicer,
    selection: SliceSelection,
    definition: DatasetDefinition,
    mask: np.ndarray | None = None,
    frame: TrainingFrame | None = None,
    affine: np.ndarray | None = None,
) -> Contexts:
    """Takes context slices from a scan; arguments are those of `contexts_of_scan`, with a Slicer of the scan."""
    scan = slicer.volume
    stack = slicer.extract(frame, affine)
    check_tilt(stack.affine, slicer.affine, scan.path, definition.plane)
    positions = acquired_positions(selection.positions_in(scan, stack, definition), stack)
    if positions:
        check_thickness(frame, stack.slice_thickness, scan.path)
    if affine is not None and frame is not None and positions:
        check_in_plane(stack.images[list(positions)], definition.pixel_spacing, frame.boxes, scan.path)
    return contexts_of_stack(scan, stack, positions, selection, definition, mask)


def contexts_of_stack(
    scan: Volume,
    stack: Stack,
    positions: tuple[int, ...],
    selection: SliceSelection,
    definition: DatasetDefinition,
    mask: np.ndarray | None = None,
) -> Contexts:
    """Takes context slices from the stack of a scan, without checks.

    Args:
        scan: The scan.
        stack: Its stack.
        positions: Slice numbers of the contexts, ascending, at which the stack is acquired.
        selection: How the slices were chosen.
        definition: The dataset of the model.
        mask: bool, of the shape of the scan; None for no mask.
    """
    if mask is not None:
        background = np.float32(stack.intensity_low)
        scan = dataclasses.replace(scan, data=np.where(mask, scan.data, background))
    acquired = np.flatnonzero(stack.acquired)
    return Contexts(
        positions,
        stack.images[list(positions)],
        stack.affine,
        (stack.intensity_low, stack.intensity_high),
        [_nearest_slice(scan, stack.affine, position, definition.axes) for position in positions],
        [str(scan.path)],
        stack.slice_thickness,
        (acquired, stack.images[acquired]),
        selection.to_json(),
    )


def acquired_positions(positions: tuple[int, ...], stack: Stack) -> tuple[int, ...]:
    """Returns the positions where the scan is not empty; raises a UserError if one is outside it, or none is left."""
    inside = np.flatnonzero(stack.inside)
    for position in positions:
        if not stack.inside[position]:
            covered = (
                f'it covers {inside[0]} to {inside[-1]}'
                if len(inside)
                else 'it covers none, so the `reference` lies in another world'
            )
            raise UserError(f'{stack.path}: has no slice at position {position} of the model; {covered}.')
    empty = [position for position in positions if not stack.acquired[position]]
    if not empty:
        return positions
    names = 'position' + 's' * (len(empty) > 1) + ' ' + ', '.join(map(str, empty))
    left = tuple(position for position in positions if stack.acquired[position])
    if not left:
        raise UserError(f'{stack.path}: all of its slices at {names} are empty; choose others.')
    warn(f'{stack.path}: its slices at {names} of the model are empty; they are left out.')
    return left


def _nearest_slice(scan: Volume, stack_affine: np.ndarray, position: int, axes: str) -> Volume:
    """Returns the scan's own slice that is nearest to a position in the stack, as a volume of one slice."""
    axis = slice_axis(scan.affine, axes)
    middle = (np.array(scan.data.shape) - 1) / 2
    to_stack = np.linalg.inv(stack_affine) @ scan.affine
    # The slice coordinate of the stack along the middle line of the scan is linear in the scan's index.
    step = to_stack[2, axis]
    origin = to_stack[2] @ [*np.where(np.arange(3) == axis, 0, middle), 1]
    index = int(np.clip(np.round((position - origin) / step - 1e-3), 0, scan.data.shape[axis] - 1))
    part = tuple(slice(index, index + 1) if a == axis else slice(None) for a in range(3))
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, axis] * index
    return Volume(scan.data[part], affine, scan.path)
