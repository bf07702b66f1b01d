"""Context slices: from what a user types to positions in the model's stack. Nothing is ever clamped."""

from collections.abc import Sequence

import nibabel
import numpy as np
from absl import logging

from tfp_bruno.data import DatasetDefinition, Stack, Volume
from tfp_bruno.errors import UserError

# Rounding of an affine that was stored in float32, in slices.
TOLERANCE = 1e-3


def check_positions(positions: Sequence[int], definition: DatasetDefinition) -> tuple[int, ...]:
    """Checks positions in the model's stack.

    Args:
        positions: slice numbers k, from 0 (inferior) to K - 1 (superior).
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


def scan_slices_to_positions(scan_slices: Sequence[int], volume: Volume, stack: Stack) -> tuple[int, ...]:
    """Finds the positions in the model's stack of slices of a scan.

    Args:
        scan_slices: indices from 0 along the scan's own slice axis, the one nearest to superior, in the file's order.
        volume: the scan.
        stack: the stack that was extracted from it.

    Returns:
        The nearest position of each slice, ascending; repeated slices are merged with a warning.

    Raises:
        UserError: if an index is outside the scan, a slice lies outside the stack (further than half a slice from its
            first or last), or two slices are nearest to one position.
    """
    inside = slices_inside(volume, stack)
    chosen = {}
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


def slices_inside(volume: Volume, stack: Stack) -> dict[int, int]:
    """Returns the nearest position in the stack of every slice of a scan that lies in it.

    Args:
        volume: the scan.
        stack: the stack that was extracted from it.

    Returns:
        Positions keyed by the index along the scan's slice axis. Slices outside the stack are not in it.
    """
    num_slices = len(stack.images)
    axis = list(nibabel.orientations.io_orientation(volume.affine)[:, 0]).index(2)
    voxels = np.tile((np.array(volume.data.shape) - 1) / 2, (volume.data.shape[axis], 1))
    voxels[:, axis] = np.arange(volume.data.shape[axis])
    to_stack = np.linalg.inv(stack.affine) @ volume.affine
    positions = nibabel.affines.apply_affine(to_stack, voxels)[:, 2]
    return {
        # A slice halfway between two positions goes to the lower one, whatever the rounding.
        index: int(np.clip(np.ceil(position - 0.5 - TOLERANCE), 0, num_slices - 1))
        for index, position in enumerate(positions)
        if -0.5 - TOLERANCE <= position <= num_slices - 0.5 + TOLERANCE
    }


def _merge_repeated(flag: str, numbers: Sequence[int]) -> tuple[int, ...]:
    """Returns the numbers, ascending, each once; warns if one was there twice."""
    unique = sorted(set(numbers))
    if len(unique) < len(numbers):
        logging.warning('%s: slices that are given twice are used once.', flag)
    return tuple(unique)
