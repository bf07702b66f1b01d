"""Context slices: from what a user types to positions in the model's stack. Nothing is ever clamped."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TypeVar

import nibabel
import numpy as np

from tfp_bruno.data import DatasetDefinition, Stack, Volume
from tfp_bruno.data.definitions import PLANES
from tfp_bruno.data.orientation import nearest_orientation
from tfp_bruno.errors import UserError, warn

# Rounding of an affine that was stored in float32, in slices.
TOLERANCE = 1e-3
# Slices this much thicker than the pixels are wide tell along which axis a volume was acquired.
THICK = 1.25
# Degrees between slices and the planes of the stack. What is tilted further is another anatomy to the model.
TILT_WARNING, MOST_TILT = 5.0, 15.0


_Number = TypeVar('_Number', int, float)


@dataclasses.dataclass(frozen=True)
class SliceSelection:
    """Which slices of a scan are given, in one of three ways.

    Attributes:
        slices: positions k in the model's stack; empty for the atlas.
        scan_slices: indices along the scan's own slice axis.
        world_positions: world coordinates in mm along the slices' normal; for slices along the world's axes that is the
            x, y or z of a slice.
    """

    slices: Sequence[int] | None = None
    scan_slices: Sequence[int] | None = None
    world_positions: Sequence[float] | None = None

    def __post_init__(self):
        if sum(way is not None for way in (self.slices, self.scan_slices, self.world_positions)) != 1:
            raise UserError(
                '--slices, --scan_slices, --world_positions: give one of them; --slices= (empty) gives the atlas.'
            )

    @property
    def needs_scan(self) -> bool:
        """Whether there are contexts to read from a scan."""
        return bool(self.slices or self.scan_slices or self.world_positions)

    def positions_in(self, volume: Volume, stack: Stack, definition: DatasetDefinition) -> tuple[int, ...]:
        """Returns the positions of the slices in the model's stack, ascending.

        Args:
            volume: the scan.
            stack: the stack that was extracted from it.
            definition: the dataset of the model.

        Returns:
            Slice numbers k.

        Raises:
            UserError: if a slice is outside the scan or the stack, or two slices are nearest to one position.
        """
        if self.scan_slices:
            return scan_slices_to_positions(self.scan_slices, volume, stack, definition.axes)
        if self.world_positions:
            return world_to_positions(self.world_positions, stack)
        return check_positions(self.slices or (), definition)


def check_positions(positions: Sequence[int], definition: DatasetDefinition) -> tuple[int, ...]:
    """Checks positions in the model's stack.

    Args:
        positions: slice numbers k, from 0 to K - 1.
        definition: the dataset of the model.

    Returns:
        The positions, ascending; repeated ones are merged with a warning.

    Raises:
        UserError: if a position is outside the stack.
    """
    for position in positions:
        if not 0 <= position < definition.num_slices:
            raise UserError(
                f'--slices: {position} is outside the stack; give numbers from 0 to {definition.num_slices - 1}.'
            )
    return _merge_repeated('--slices', positions)


def scan_slices_to_positions(scan_slices: Sequence[int], volume: Volume, stack: Stack, axes: str) -> tuple[int, ...]:
    """Finds the positions in the model's stack of slices of a scan.

    Args:
        scan_slices: indices from 0 along the scan's own slice axis, in the file's order.
        volume: the scan.
        stack: the stack that was extracted from it.
        axes: of the model's stack, such as 'LPS'; the scan's slice axis is the one nearest to the last.

    Returns:
        The nearest position of each slice, ascending; repeated slices are merged with a warning.

    Raises:
        UserError: if an index is outside the scan, a slice lies outside the stack (further than half a slice from its
            first or last), or two slices are nearest to one position.
    """
    inside = slices_inside(volume, stack, axes)
    if not inside:
        raise UserError(f"{volume.path}: none of its slices lies in the model's field of view; give another scan.")
    chosen: dict[int, int] = {}
    for index in _merge_repeated('--scan_slices', scan_slices):
        if index not in inside:
            raise UserError(
                f"--scan_slices: {index} is outside the model's field of view of {volume.path}; "
                f'give numbers from {min(inside)} to {max(inside)}.'
            )
        position = inside[index]
        if position in chosen:
            raise UserError(
                f'--scan_slices: {chosen[position]} and {index} are both nearest to position {position} of the model; '
                'give one of them.'
            )
        chosen[position] = index
    return tuple(sorted(chosen))


def slices_inside(volume: Volume, stack: Stack, axes: str) -> dict[int, int]:
    """Returns the nearest position in the stack of every slice of a scan that lies in it.

    Args:
        volume: the scan.
        stack: the stack that was extracted from it.
        axes: of the model's stack, such as 'LPS'.

    Returns:
        Positions keyed by the index along the scan's slice axis. Slices outside the stack are not in it.
    """
    num_slices = len(stack.images)
    axis = slice_axis(volume.affine, axes)
    voxels = np.tile((np.array(volume.data.shape) - 1) / 2, (volume.data.shape[axis], 1))
    voxels[:, axis] = np.arange(volume.data.shape[axis])
    to_stack = np.linalg.inv(stack.affine) @ volume.affine
    positions = nibabel.affines.apply_affine(to_stack, voxels)[:, 2]
    nearest = ((index, nearest_position(position, num_slices)) for index, position in enumerate(positions))
    return {index: position for index, position in nearest if position is not None}


def slice_axis(affine: np.ndarray, axes: str) -> int:
    """Returns the axis of a volume along which its slices lie: the one nearest to the last of the stack's axes."""
    return int(np.flatnonzero(nearest_orientation(affine, axes)[:, 0] == 2)[0])


def check_acquired_axis(volume: Volume, definition: DatasetDefinition, by_own_slices: bool) -> None:
    """Checks that the slices of a scan were acquired in the plane of the model.

    Args:
        volume: the scan.
        definition: the dataset of the model.
        by_own_slices: whether the contexts are chosen by the scan's own slices.

    Raises:
        UserError: if they are, and the scan was acquired in another plane, as the header says or, where it does not,
            the thickest voxels. Otherwise that, and voxels that are thick across the model's planes, is a warning.
    """
    wanted = slice_axis(volume.affine, definition.axes)
    spacing = nibabel.affines.voxel_sizes(volume.affine)
    thickest = int(np.argmax(spacing))
    thick = thickest if spacing[thickest] > THICK * np.delete(spacing, thickest).max() else None
    acquired = thick if volume.slice_axis is None else volume.slice_axis
    others = [axis for axis in (acquired, thick) if axis not in (None, wanted)]
    if not others:
        return
    plane = next(name for name, axes in PLANES.items() if slice_axis(volume.affine, axes) == others[0])
    if by_own_slices and others[0] == acquired:
        raise UserError(
            f'--scan_slices: the slices of {volume.path} are {plane}, those of the model {definition.plane}; choose '
            f'{definition.plane} planes by --slices or --world_positions, or train a model with plane = "{plane}".'
        )
    warn(
        f'{volume.path}: its slices are {plane}, {spacing[others[0]]:.3g} mm apart; the {definition.plane} planes of '
        'the model are interpolated across them.'
    )


def check_tilt(first: np.ndarray, second: np.ndarray, path: str | os.PathLike, plane: str) -> None:
    """Checks that slices lie nearly in the planes of the stack.

    Args:
        first: `[4, 4]` of the stack, slices along its third axis.
        second: the same of the slices.
        path: their file.
        plane: of the model.

    Raises:
        UserError: if they are tilted by more than 15 degrees; by more than 5, it is a warning.
    """
    normals = [np.cross(affine[:3, 0], affine[:3, 1]) for affine in (first, second)]
    cosine = abs(np.dot(*[normal / np.linalg.norm(normal) for normal in normals]))
    tilt = float(np.degrees(np.arccos(np.clip(cosine, 0, 1))))
    if tilt > MOST_TILT:
        raise UserError(
            f"{path}: is tilted by {tilt:.0f} degrees against the model's {plane} planes; give slices of that plane, "
            'or a --reference with the same obliquity.'
        )
    if tilt > TILT_WARNING:
        warn(f"{path}: is tilted by {tilt:.0f} degrees against the model's planes.")


def nearest_position(position: float, num_slices: int) -> int | None:
    """Returns the slice of the stack that is nearest to a position in slices, or None outside the stack.

    A position halfway between two slices goes to the lower one, whatever the rounding.
    """
    if not -0.5 - TOLERANCE <= position <= num_slices - 0.5 + TOLERANCE:
        return None
    return int(np.clip(np.ceil(position - 0.5 - TOLERANCE), 0, num_slices - 1))


def plane_coordinates(stack_affine: np.ndarray, num_slices: int) -> np.ndarray:
    """Returns where the planes of a stack lie along their normal.

    Args:
        stack_affine: `[4, 4]`, (w, h, k, 1) to world mm.
        num_slices: K.

    Returns:
        `[K]`, mm; where the normal is an axis of the world, that coordinate of the planes.
    """
    normal = np.cross(stack_affine[:3, 0], stack_affine[:3, 1])
    normal /= np.linalg.norm(normal) * np.sign(normal[np.argmax(np.abs(normal))])
    return normal @ (stack_affine[:3, 3:] + stack_affine[:3, 2:3] * np.arange(num_slices))


def world_to_positions(world_positions: Sequence[float], stack: Stack) -> tuple[int, ...]:
    """Finds the positions in the model's stack of planes in the world.

    Args:
        world_positions: coordinates along the planes' normal, mm, see `plane_coordinates`.
        stack: the stack that was extracted from the scan.

    Returns:
        The nearest position of each plane, ascending; repeated ones are merged with a warning.

    Raises:
        UserError: if a plane lies outside the stack, or two are nearest to one position.
    """
    num_slices = len(stack.images)
    planes = plane_coordinates(stack.affine, num_slices)
    step = planes[1] - planes[0]
    chosen: dict[int, float] = {}
    for coordinate in _merge_repeated('--world_positions', world_positions):
        position = nearest_position((coordinate - planes[0]) / step, num_slices)
        if position is None:
            low, high = sorted((planes[0] - step / 2, planes[-1] + step / 2))
            raise UserError(
                f"--world_positions: {coordinate:g} is outside the model's field of view of {stack.path}; "
                f'give mm from {low:.2f} to {high:.2f}.'
            )
        if position in chosen:
            raise UserError(
                f'--world_positions: {chosen[position]:g} and {coordinate:g} are both nearest to position {position} '
                'of the model; give one of them.'
            )
        chosen[position] = coordinate
    return tuple(sorted(chosen))


def _merge_repeated(flag: str, numbers: Sequence[_Number]) -> tuple[_Number, ...]:
    """Returns the numbers, ascending, each once; warns if one was there twice."""
    unique = sorted(set(numbers))
    if len(unique) < len(numbers):
        warn(f'{flag}: slices that are given twice are used once.')
    return tuple(unique)
