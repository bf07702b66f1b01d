"""The slices that are given, in the frame of the model, whatever they were read from."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfp_bruno.data import DatasetDefinition, Stack, TrainingFrame, Volume, extract_stack
from tfp_bruno.data.orientation import orient
from tfp_bruno.data.placement import check_in_plane
from tfp_bruno.errors import UserError, warn
from tfp_bruno.reconstruction.alignment import warn_of_thickness
from tfp_bruno.reconstruction.output_grid import centred_stack_affine
from tfp_bruno.reconstruction.positions import SliceSelection, check_acquired_axis, check_tilt, slice_axis


@dataclasses.dataclass(frozen=True)
class Contexts:
    """The n slices of a subject that are given.

    Attributes:
        positions: their slice numbers k in the model's stack, ascending.
        images: float32 `[n, H, W]` in [0, 1].
        affine: float64 `[4, 4]` of the stack that they belong to, (w, h, k, 1) to world RAS mm.
        intensities: the intensities that became 0 and 1; None where nothing was read.
        given: the slices as they were read: volumes with one voxel along one axis.
        files: the files that were read.
        slice_thickness: mm; None where nothing was read.
        stack: positions `[m]` and images float32 `[m, H, W]` of all slices that the scan holds; None without a scan.
        selection: how the slices were chosen, for the sidecar.
        inputs: role, path and SHA-256 of every file that was read, see `describe_inputs`.
        warnings: what was unusual about the files and was mended or left as it is, one line each.
    """

    positions: tuple[int, ...]
    images: np.ndarray
    affine: np.ndarray
    intensities: tuple[float, float] | None = None
    given: Sequence[Volume] = ()
    files: Sequence[str] = ()
    slice_thickness: float | None = None
    stack: tuple[np.ndarray, np.ndarray] | None = None
    selection: dict = dataclasses.field(default_factory=dict)
    inputs: Sequence[Mapping[str, str]] = ()
    warnings: Sequence[str] = ()


def no_contexts(definition: DatasetDefinition) -> Contexts:
    """Returns the contexts of the atlas: none, in a stack about world 0."""
    empty = np.zeros((0, definition.image_size, definition.image_size), np.float32)
    return Contexts((), empty, centred_stack_affine(definition))


def contexts_of_scan(
    scan: Volume | None,
    selection: SliceSelection,
    definition: DatasetDefinition,
    mask: np.ndarray | None = None,
    frame: TrainingFrame | None = None,
    affine: np.ndarray | None = None,
) -> Contexts:
    """Takes slices out of a scan.

    Args:
        scan: the scan that holds the slices; None only for the atlas.
        selection: which slices.
        definition: the dataset of the model.
        mask: bool, of the shape of the scan: what is outside counts as background. None for everything.
        frame: what the training volumes have in common: the anatomy is placed as in theirs; None for no check.
        affine: `[4, 4]` of the stack, (w, h, k, 1) to world mm, where it is known by other means than the scan.

    Returns:
        The Contexts. A slice that is empty between others of the scan is left out, with a warning.

    Raises:
        UserError: if there are slices but no scan, the anatomy cannot be placed, a slice is outside the scan or the
            stack, or all are empty.
    """
    if scan is None:
        if selection.needs_scan:
            raise UserError('--stack: is missing; give the scan that holds the slices, or --slices= for the atlas.')
        return no_contexts(definition)
    check_acquired_axis(scan, definition, by_own_slices=bool(selection.scan_slices))
    stack = extract_stack(scan, definition, mask, frame, affine)
    check_tilt(stack.affine, orient(scan.data, scan.affine, definition.axes)[1], scan.path, definition.plane)
    positions = _acquired(selection.positions_in(scan, stack, definition), stack)
    if mask is not None:
        background = np.float32(stack.intensity_low)
        scan = dataclasses.replace(scan, data=np.where(mask, scan.data, background))
    if positions:
        warn_of_thickness(frame, stack.slice_thickness, scan.path)
    images = stack.images[list(positions)]
    if affine is not None and frame is not None and positions:
        check_in_plane(images, definition.pixel_spacing, frame.boxes, scan.path)
    acquired = np.flatnonzero(stack.acquired)
    return Contexts(
        positions,
        images,
        stack.affine,
        (stack.intensity_low, stack.intensity_high),
        [_nearest_slice(scan, stack.affine, position, definition.axes) for position in positions],
        [str(scan.path)],
        stack.slice_thickness,
        (acquired, stack.images[acquired]),
        {name: list(way) for name, way in dataclasses.asdict(selection).items() if way is not None},
    )


def _acquired(positions: tuple[int, ...], stack: Stack) -> tuple[int, ...]:
    """Returns the positions where the scan holds something; see `contexts_of_scan` for the others."""
    inside = np.flatnonzero(stack.inside)
    for position in positions:
        if not stack.inside[position]:
            raise UserError(
                f'{stack.path}: has no slice at position {position} of the model; it covers '
                + (f'{inside[0]} to {inside[-1]}.' if len(inside) else 'none, so --reference lies in another world.')
            )
    empty = [position for position in positions if not stack.acquired[position]]
    left = tuple(position for position in positions if stack.acquired[position])
    if not empty:
        return positions
    if not left:
        raise UserError(f'{stack.path}: all of its slices at {_list(empty)} are empty; choose others.')
    warn(f'{stack.path}: its slices at {_list(empty)} of the model are empty; they are left out.')
    return left


def _list(positions: Sequence[int]) -> str:
    """Returns positions as text."""
    return 'position' + 's' * (len(positions) > 1) + ' ' + ', '.join(map(str, positions))


def _nearest_slice(scan: Volume, stack_affine: np.ndarray, position: int, axes: str) -> Volume:
    """Returns the scan's own slice that is nearest to a position in the stack, as a volume of one slice."""
    axis = slice_axis(scan.affine, axes)
    middle = (np.array(scan.data.shape) - 1) / 2
    to_stack = np.linalg.inv(stack_affine) @ scan.affine
    # The stack's slices are the scan's, resampled along one axis: one number leads from one to the other.
    step = to_stack[2, axis]
    origin = to_stack[2] @ [*np.where(np.arange(3) == axis, 0, middle), 1]
    index = int(np.clip(np.round((position - origin) / step - 1e-3), 0, scan.data.shape[axis] - 1))
    part = tuple(slice(index, index + 1) if a == axis else slice(None) for a in range(3))
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, axis] * index
    return Volume(scan.data[part], affine, scan.path)
