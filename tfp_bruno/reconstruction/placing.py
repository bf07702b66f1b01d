"""The place of a scan in the model's stack: by the file, or by the anatomy, found with the model's canonical volume."""

import dataclasses
import math
from typing import Any

import nibabel
import numpy as np

from tfp_bruno.contracts import CompletionModel, LocatingModel
from tfp_bruno.data import DatasetDefinition, Slicer, Stack, TrainingFrame, Volume
from tfp_bruno.data.anatomy_placement import box_along, slice_directions, stack_about, warn_of_depth
from tfp_bruno.data.frame import FOREGROUND_THRESHOLD, BoxRange
from tfp_bruno.data.orientation import nearest_orientation
from tfp_bruno.data.placement import check_ends, check_size, lies_as_in_training
from tfp_bruno.errors import UserError, warn
from tfp_bruno.reconstruction.alignment import check_acquired_axis, check_thickness, training_frame
from tfp_bruno.reconstruction.contexts import (
    Contexts,
    acquired_positions,
    contexts_of_scan,
    contexts_of_slicer,
    contexts_of_stack,
)
from tfp_bruno.reconstruction.positions import SliceSelection
from tfp_bruno.reconstruction.scan_axes import HEADER, UNKNOWN, axis_directions, check_scan_axes, turned_scan
from tfp_bruno.reconstruction.turn_search import FoundTurn, Turn, find_turn

# How the stack is placed: by the anatomy where the file is unlike the training files and the model can locate it; as
# the training data lie in their files; about the anatomy.
PLACEMENTS = ('auto', 'file', 'anatomy')
# An anatomy that is turned by more is reported.
_UPRIGHT = 45.0


@dataclasses.dataclass(frozen=True)
class Placing:
    """How a scan is placed in the model's stack.

    Attributes:
        placement: One of `PLACEMENTS`.
        scan_axes: Directions of the scan's own axes: 'header', 'unknown', or three letters such as 'RAS'.
    """

    placement: str = 'auto'
    scan_axes: str = HEADER

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise UserError(f'`placement={self.placement}`: is unknown; give one of {", ".join(PLACEMENTS)}.')
        check_scan_axes(self.scan_axes)

    def to_json(self) -> dict[str, str]:
        """Returns the settings that are not the default, for the sidecar."""
        default = Placing()
        return {name: value for name, value in vars(self).items() if value != getattr(default, name)}

    def check(self, model: CompletionModel, selection: SliceSelection, has_reference: bool) -> None:
        """Raises a UserError if the settings do not fit model, slices or a reference."""
        anatomy = '`placement=anatomy`' if self.scan_axes != UNKNOWN else '`scan_axes=unknown`'
        if self.placement == 'anatomy' or self.scan_axes == UNKNOWN:
            if not isinstance(model, LocatingModel):
                raise UserError(
                    f'{anatomy}: needs a model that finds the place of slices; train one with the preset map.'
                )
            if has_reference:
                raise UserError(f'{anatomy}: excludes a `reference`, which determines the place; leave one out.')
        if self.scan_axes == HEADER:
            return
        if has_reference:
            raise UserError(f'`scan_axes={self.scan_axes}`: excludes a `reference`; leave one out.')
        if selection.world_positions:
            raise UserError(f'`scan_axes={self.scan_axes}`: excludes `world_positions`; give `scan_slices`.')
        if self.scan_axes == UNKNOWN and self.placement == 'file':
            raise UserError('`scan_axes=unknown`: excludes `placement=file`; leave one out.')
        if self.scan_axes == UNKNOWN and not selection.scan_slices:
            raise UserError('`scan_axes=unknown`: needs `scan_slices`, since the direction of the slices is unknown.')


def place_contexts(
    model: CompletionModel,
    scan: Volume,
    selection: SliceSelection,
    mask: np.ndarray | None = None,
    placing: Placing | None = None,
    affine: np.ndarray | None = None,
) -> Contexts:
    """Takes context slices from a scan, wherever the anatomy lies in it.

    Args:
        model: A trained model.
        scan: The scan that holds the slices.
        selection: Which slices.
        mask: bool, of the shape of the scan: everything outside becomes background. None for no mask.
        placing: How the scan is placed in the model's stack.
        affine: `[4, 4]` of the stack, (w, h, k, 1) to world mm, if it is known from a reference.

    Returns:
        The Contexts, in the world of the scan.

    Raises:
        UserError: If the anatomy cannot be located, a slice is outside the scan or the stack, or all slices are empty.
    """
    placing = placing or Placing()
    placing.check(model, selection, affine is not None)
    definition, frame = model.definition, training_frame(model.info)
    if affine is not None:
        return contexts_of_scan(scan, selection, definition, mask, frame, affine)
    scan, world = turned_scan(scan, placing.scan_axes, definition)
    if placing.scan_axes != HEADER and frame is not None:
        # The world is not that of the training volumes.
        frame = dataclasses.replace(frame, spread=math.inf)
    check_acquired_axis(scan, definition, by_own_slices=bool(selection.scan_slices))
    slicer = Slicer(scan, definition, mask)
    if isinstance(model, LocatingModel) and _by_anatomy(slicer, placing, frame):
        contexts = _placed_by_anatomy(model, slicer, selection, mask, placing, frame)
    else:
        contexts = contexts_of_slicer(slicer, selection, definition, mask, frame)
    contexts = dataclasses.replace(contexts, selection={**contexts.selection, **placing.to_json()})
    return contexts if placing.scan_axes == HEADER else contexts.in_world(world)


def _by_anatomy(slicer: Slicer, placing: Placing, frame: TrainingFrame | None) -> bool:
    """Returns whether a scan is placed by its anatomy."""
    if placing.placement == 'anatomy' or placing.scan_axes == UNKNOWN:
        return True
    if placing.placement == 'file' or frame is None or frame.boxes is None or len(slicer.gaps):
        return False
    return not lies_as_in_training(slicer.box, nibabel.affines.voxel_sizes(slicer.affine), frame.boxes)


def _placed_by_anatomy(
    model: LocatingModel,
    slicer: Slicer,
    selection: SliceSelection,
    mask: np.ndarray | None,
    placing: Placing,
    frame: TrainingFrame | None,
) -> Contexts:
    """Returns the contexts in a stack about the anatomy, turned as the canonical volume is."""
    definition, scan = model.definition, slicer.volume
    if frame is None or frame.boxes is None:
        raise UserError('`placement=anatomy`: the run does not record where the anatomy lies; train it again.')
    seen = frame.boxes
    inside, upright = slicer.foreground, slice_directions(slicer.affine)
    _check_whole(slicer, inside, seen, mask is not None)

    def affine_of(turn: Turn) -> np.ndarray:
        directions = upright @ turn.matrix()
        return stack_about(*box_along(directions, inside, slicer.affine), directions, seen, definition)

    straight = slicer.extract(affine=affine_of(Turn()))
    positions = acquired_positions(selection.positions_in(scan, straight, definition), straight)
    _check_slices(straight, positions)

    def contexts_at(turn: Turn) -> tuple[np.ndarray, np.ndarray] | None:
        affine = affine_of(turn)
        moved = _same_planes(positions, straight.affine, affine)
        if moved.min() < 0 or moved.max() >= definition.num_slices:
            return None
        return slicer.slices(affine, moved), moved

    unknown = placing.scan_axes == UNKNOWN
    found = None
    if positions:
        found = find_turn(model, contexts_at, reversible=unknown, prefers_unturned=not unknown)
        check_thickness(frame, straight.slice_thickness, scan.path)
    turn = Turn() if found is None else found.turn
    box, _ = box_along(upright @ turn.matrix(), inside, slicer.affine)
    check_size(box, seen, scan.path)
    stack = slicer.stack(affine_of(turn))
    warn_of_depth(box, stack.affine, definition.num_slices, scan.path)
    turned = tuple(sorted(_same_planes(positions, straight.affine, stack.affine).tolist()))
    contexts = contexts_of_stack(scan, stack, turned, selection, definition, mask)
    return dataclasses.replace(contexts, placing=_describe(slicer, turn, found, placing, definition))


def _check_whole(slicer: Slicer, inside: np.ndarray, seen: BoxRange, is_masked: bool) -> None:
    """Raises a UserError if the anatomy is cut off; a mask may end bluntly within the scan, but not at its end."""
    box = slicer.box
    if is_masked:
        areas = [np.count_nonzero(inside, axis=tuple(np.delete(range(3), axis))) for axis in range(3)]
        ends = np.array([max(area[0], area[-1]) / area.max() for area in areas])
        box = dataclasses.replace(box, end_area=ends)
    check_ends(box, nibabel.affines.voxel_sizes(slicer.affine), seen, slicer.volume.path, partial=False)


def _check_slices(stack: Stack, positions: tuple[int, ...]) -> None:
    """Warns of slices that show no anatomy; raises a UserError if none shows any."""
    empty = [k for k in positions if not np.any(stack.images[k] > FOREGROUND_THRESHOLD)]
    if not empty:
        return
    names = ', '.join(map(str, empty))
    if len(empty) == len(positions):
        raise UserError(f'{stack.path}: none of the chosen slices shows the anatomy; choose others, or check the mask.')
    warn(f'{stack.path}: its slices at {names} of the model show no anatomy; they count as background.')


def _same_planes(positions: tuple[int, ...], old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns the positions, in the stack of another affine with the same planes, of positions in a stack."""
    depth = (new[:3, 2] / np.sum(np.square(new[:3, 2]))) @ (
        old[:3, 3:] - new[:3, 3:] + old[:3, 2:3] * np.array(positions, float)
    )
    return np.round(depth).astype(int)


def _describe(
    slicer: Slicer, turn: Turn, found: FoundTurn | None, placing: Placing, definition: DatasetDefinition
) -> dict[str, Any]:
    """Returns how a scan was placed, for the sidecar; warns if it is doubtful or unexpected."""
    axes, angle = _own_axes(slicer, turn, definition)
    described: dict[str, Any] = {'scan_axes': axes, 'turn_degrees': round(angle, 1), 'margin_nats': None}
    if found is None:
        return described
    path = slicer.volume.path
    rival, other = _own_axes(slicer, found.rival, definition)
    described |= {'margin_nats': round(found.margin, 1), 'next_best': rival, 'next_best_turn_degrees': round(other, 1)}
    if placing.scan_axes == UNKNOWN and found.is_ambiguous:
        warn(
            f'{path}: two orientations explain the context slices nearly equally well: axes of the file that point to '
            f'{axes}, turned by {angle:+.0f} degrees in the plane, and to {rival}, by {other:+.0f} degrees; check the '
            'result, or give `scan_axes`.'
        )
    elif placing.scan_axes != UNKNOWN and abs(turn.angle) > _UPRIGHT:
        warn(
            f'{path}: its anatomy is turned by {turn.angle:+.0f} degrees in the plane against the axes of the header; '
            'the stack was turned with it.'
        )
    return described


def _own_axes(slicer: Slicer, turn: Turn, definition: DatasetDefinition) -> tuple[str, float]:
    """Returns the directions nearest to the axes of the file in the turned anatomy, and the angle that is left."""
    turned = slice_directions(slicer.affine) @ turn.matrix()
    # From the world of the header to that of the anatomy, whose axes the turned stack has.
    to_anatomy = axis_directions(definition.axes) @ turned.T
    nearest = nearest_orientation(nibabel.affines.from_matvec(to_anatomy @ slicer.volume.affine[:3, :3]), 'RAS')
    return ''.join(nibabel.orientations.ornt2axcodes(nearest)), (turn.angle + 45) % 90 - 45
