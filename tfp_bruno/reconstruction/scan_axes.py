"""The directions of a scan's own axes in the anatomy, where the header does not know them."""

import dataclasses

import nibabel
import numpy as np
from scipy import linalg

from tfp_bruno.data import DatasetDefinition, Volume
from tfp_bruno.errors import UserError

# The header of a fetal scan gives the directions of the mother.
HEADER, UNKNOWN = 'header', 'unknown'
_OPPOSITE = {'L': 'R', 'R': 'L', 'P': 'A', 'A': 'P', 'I': 'S', 'S': 'I'}


def check_scan_axes(axes: str) -> None:
    """Raises a UserError if the axes are neither 'header' nor 'unknown' nor three letters such as 'RAS'."""
    letters = {min(letter, _OPPOSITE.get(letter, letter)) for letter in axes}
    if axes not in (HEADER, UNKNOWN) and not (len(axes) == 3 and letters == {'L', 'A', 'I'}):
        raise UserError(
            f'`scan_axes={axes}`: give header, unknown, or the directions of the three axes of the file, such as RAS.'
        )


def axis_directions(axes: str) -> np.ndarray:
    """Returns the directions of axes in the world, the columns of a matrix `[3, 3]`."""
    orientation = nibabel.orientations.axcodes2ornt(tuple(axes))
    matrix = np.zeros((3, 3))
    matrix[orientation[:, 0].astype(int), range(3)] = orientation[:, 1]
    return matrix


def turned_scan(scan: Volume, axes: str, definition: DatasetDefinition) -> tuple[Volume, np.ndarray]:
    """Returns a scan in a world whose axes are those of the anatomy.

    Args:
        scan: The scan.
        axes: Directions in which the axes of the file point in the anatomy, such as 'RAS'; 'unknown' for slices along
            the model's slice axis, so far in the model's own directions; 'header' for those of the header.
        definition: The dataset of the model.

    Returns:
        The scan with the affine to that world, and the rigid transformation `[4, 4]` from it to the world of the scan.

    Raises:
        UserError: If the directions are those of a mirrored anatomy.
    """
    if axes == HEADER:
        return scan, np.eye(4)
    own, _ = linalg.polar(scan.affine[:3, :3] / nibabel.affines.voxel_sizes(scan.affine))
    handedness = np.linalg.det(own)
    if axes == UNKNOWN:
        axes = _model_axes(scan, definition)
        if np.linalg.det(axis_directions(axes)) * handedness < 0:
            flipped = axes.index(definition.axes[1])
            axes = axes[:flipped] + _OPPOSITE[axes[flipped]] + axes[flipped + 1 :]
    wanted = axis_directions(axes)
    if np.linalg.det(wanted) * handedness < 0:
        other = _OPPOSITE[axes[0]] + axes[1:]
        raise UserError(
            f'`scan_axes={axes}`: would mirror {scan.path}, by its affine; reverse one or all of them, such as {other}.'
        )
    world = nibabel.affines.from_matvec(own @ wanted.T)
    return dataclasses.replace(scan, affine=np.linalg.inv(world) @ scan.affine), world


def _model_axes(scan: Volume, definition: DatasetDefinition) -> str:
    """Returns the model's directions for the axes of a file: that of the slices for the axis of acquisition."""
    axis = scan.slice_axis
    if axis is None:
        spacing = nibabel.affines.voxel_sizes(scan.affine)
        # The last of equal ones.
        axis = 2 - int(np.argmax(np.round(spacing[::-1], 3)))
    in_plane = iter(definition.axes[:2])
    return ''.join(definition.axes[2] if index == axis else next(in_plane) for index in range(3))
