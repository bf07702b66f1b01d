"""Positions in the model's stack: from slice numbers, a scan's own slices or world coordinates; never clamped."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import nibabel
import numpy as np

from tfp_bruno.data import DatasetDefinition, Stack, Volume
from tfp_bruno.errors import UserError, warn
from tfp_bruno.reconstruction.alignment import slice_axis

# Rounding error of an affine that was stored in float32, in slices.
TOLERANCE = 1e-3

_Number = TypeVar('_Number', int, float)


@dataclasses.dataclass(frozen=True)
class SliceSelection:
    """The slices of a scan that are contexts, chosen in one of three ways.

    Attributes:
        slices: Positions k in the model's stack; empty for the atlas.
        scan_slices: Indices along the scan's own slice axis.
        world_positions: World coordinates in mm along the normal of the slices, see `plane_coordinates`.
    """

    slices: Sequence[int] | None = None
    scan_slices: Sequence[int] | None = None
    world_positions: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if len(self.to_json()) != 1:
            raise UserError(
                '`slices`, `scan_slices`, `world_positions`: give one of them; an empty list of `slices` gives the '
                'atlas.'
            )

    @property
    def needs_scan(self) -> bool:
        """Whether any slice is selected."""
        return bool(self.slices or self.scan_slices or self.world_positions)

    def to_json(self) -> dict[str, list[float]]:
        """Returns the numbers that were given, keyed by the attribute, as JSON can hold them."""
        return {name: list(numbers) for name, numbers in dataclasses.asdict(self).items() if numbers is not None}

    def positions_in(self, volume: Volume, stack: Stack, definition: DatasetDefinition) -> tuple[int, ...]:
        """Returns the positions of the slices in the model's stack, ascending.

        Args:
            volume: The scan.
            stack: The stack that was extracted from it.
            definition: The dataset of the model.

        Raises:
            UserError: If a slice is outside the scan or the stack, or two slices are nearest to one position.
        """
        if self.scan_slices:
            return scan_slices_to_positions(self.scan_slices, volume, stack, definition.axes)
        if self.world_positions:
            return world_to_positions(self.world_positions, stack)
        return check_positions(self.slices or (), definition)


def check_positions(positions: Sequence[int], definition: DatasetDefinition) -> tuple[int, ...]:
    """Returns positions in the model's stack, ascending; repeated ones are merged with a warning.

    Args:
        positions: Slice numbers k, from 0 to K - 1.
        definition: The dataset of the model.

    Raises:
        UserError: If a position is outside the stack.
    """
    for position in positions:
        if not 0 <= position < definition.num_slices:
            raise UserError(
                f'`slices`: {position} is outside the stack; give numbers from 0 to {definition.num_slices - 1}.'
            )
    return tuple(_merge_repeated('slices', positions))


def scan_slices_to_positions(scan_slices: Sequence[int], volume: Volume, stack: Stack, axes: str) -> tuple[int, ...]:
    """Returns the nearest positions in the model's stack of slices of a scan, ascending.

    Args:
        scan_slices: Indices from 0 along the scan's own slice axis, in the file's order; repeated ones are merged with
            a warning.
        volume: The scan.
        stack: The stack that was extracted from it.
        axes: Of the model's stack, such as 'LPS'; the scan's slice axis is the one nearest to the last.

    Raises:
        UserError: If an index is outside the scan, a slice lies outside the stack (further than half a slice from its
            first or last), or two slices are nearest to one position.
    """
    inside = slices_inside(volume, stack, axes)
    if not inside:
        raise UserError(f"{volume.path}: none of its slices lies in the model's field of view; give another scan.")
    limits = f'{volume.path}; give numbers from {min(inside)} to {max(inside)}'
    return _nearest_positions('scan_slices', scan_slices, inside.get, limits)


def world_to_positions(world_positions: Sequence[float], stack: Stack) -> tuple[int, ...]:
    """Returns the nearest positions in the model's stack of planes in the world, ascending.

    Args:
        world_positions: Coordinates in mm along the normal of the planes, see `plane_coordinates`; repeated ones are
            merged with a warning.
        stack: The stack that was extracted from the scan.

    Raises:
        UserError: If a plane lies outside the stack, or two are nearest to one position.
    """
    num_slices = len(stack.images)
    planes = plane_coordinates(stack.affine, num_slices)
    step = planes[1] - planes[0]
    low, high = sorted((planes[0] - step / 2, planes[-1] + step / 2))
    limits = f'{stack.path}; give mm from {low:.2f} to {high:.2f}'
    return _nearest_positions(
        'world_positions', world_positions, lambda mm: nearest_position((mm - planes[0]) / step, num_slices), limits
    )


def slices_inside(volume: Volume, stack: Stack, axes: str) -> dict[int, int]:
    """Returns the nearest position in the stack of every slice of a scan that lies in it.

    Args:
        volume: The scan.
        stack: The stack that was extracted from it.
        axes: Of the model's stack, such as 'LPS'.

    Returns:
        Positions keyed by the index along the scan's slice axis. Slices outside the stack are left out.
    """
    axis = slice_axis(volume.affine, axes)
    voxels = np.tile((np.array(volume.data.shape) - 1) / 2, (volume.data.shape[axis], 1))
    voxels[:, axis] = np.arange(volume.data.shape[axis])
    to_stack = np.linalg.inv(stack.affine) @ volume.affine
    coordinates = nibabel.affines.apply_affine(to_stack, voxels)[:, 2]
    nearest = {index: nearest_position(k, len(stack.images)) for index, k in enumerate(coordinates)}
    return {index: position for index, position in nearest.items() if position is not None}


def nearest_position(coordinate: float, num_slices: int) -> int | None:
    """Returns the slice of the stack that is nearest to a coordinate k, or None outside the stack.

    A coordinate halfway between two slices goes to the lower one, whatever its rounding error.
    """
    if not -0.5 - TOLERANCE <= coordinate <= num_slices - 0.5 + TOLERANCE:
        return None
    return int(np.clip(np.ceil(coordinate - 0.5 - TOLERANCE), 0, num_slices - 1))


def plane_coordinates(stack_affine: np.ndarray, num_slices: int) -> np.ndarray:
    """Returns the coordinates of the planes of a stack along their normal.

    Args:
        stack_affine: `[4, 4]`, (w, h, k, 1) to world mm.
        num_slices: K.

    Returns:
        `[K]`, mm; where the normal is an axis of the world, the x, y or z of the planes.
    """
    normal = np.cross(stack_affine[:3, 0], stack_affine[:3, 1])
    normal /= np.linalg.norm(normal) * np.sign(normal[np.argmax(np.abs(normal))])
    return normal @ (stack_affine[:3, 3:] + stack_affine[:3, 2:3] * np.arange(num_slices))


def _nearest_positions(
    argument: str, numbers: Sequence[_Number], nearest: Callable[[_Number], int | None], limits: str
) -> tuple[int, ...]:
    """Returns the nearest position of each number, ascending; raises a UserError where `nearest` returns None."""
    chosen: dict[int, _Number] = {}
    for number in _merge_repeated(argument, numbers):
        position = nearest(number)
        if position is None:
            raise UserError(f"`{argument}`: {number:g} is outside the model's field of view of {limits}.")
        if position in chosen:
            raise UserError(
                f'`{argument}`: {chosen[position]:g} and {number:g} are both nearest to position {position} of the '
                'model; give one of them.'
            )
        chosen[position] = number
    return tuple(sorted(chosen))


def _merge_repeated(argument: str, numbers: Sequence[_Number]) -> list[_Number]:
    """Returns the numbers, ascending, each once; warns if one was given twice."""
    unique = sorted(set(numbers))
    if len(unique) < len(numbers):
        warn(f'`{argument}`: slices that are given twice are used once.')
    return unique
