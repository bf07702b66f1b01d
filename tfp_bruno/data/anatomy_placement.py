"""The place of the model's stack about the anatomy of a volume, wherever it lies in the file and however it is turned.

The slices keep the distances of the training data in mm, whatever the extent of the file.
"""

import os

import nibabel
import numpy as np

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.frame import LEAST_AREA, Box, BoxRange
from tfp_bruno.errors import warn


def slice_directions(affine: np.ndarray) -> np.ndarray:
    """Returns the axes of a stack whose slices are parallel to those of a volume.

    Args:
        affine: `[4, 4]`, indices of columns, rows and slices, in the directions of the stack's axes, to world mm. It
            may have a shear.

    Returns:
        `[3, 3]`, a rotation: its columns are the directions of columns, rows and slices in the world.
    """
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    columns, normal = affine[:3, 0] / np.linalg.norm(affine[:3, 0]), normal / np.linalg.norm(normal)
    return np.column_stack([columns, np.cross(normal, columns), normal])


def box_along(directions: np.ndarray, inside: np.ndarray, affine: np.ndarray) -> tuple[Box, np.ndarray]:
    """Measures an anatomy along directions that need not be those of its voxels.

    Args:
        directions: `[3, 3]`, a rotation, see `slice_directions`.
        inside: bool `[X, Y, Z]`, the voxels of the anatomy, at least one.
        affine: `[4, 4]`, voxel indices to world mm.

    Returns:
        The box of the anatomy, whose extent is its own length and whose offset is 0, and its middle, `[3]` mm in the
        world. Planes with little anatomy do not count, as for the boxes of training volumes.
    """
    points = nibabel.affines.apply_affine(affine, np.argwhere(inside)) @ directions
    # The length of a voxel along each direction.
    steps = np.abs(directions.T @ affine[:3, :3]).max(axis=1)
    middle, length, end_area = np.zeros(3), np.zeros(3), np.zeros(3)
    for axis in range(3):
        plane = np.round((points[:, axis] - points[:, axis].min()) / steps[axis]).astype(int)
        area = np.bincount(plane)
        used = np.flatnonzero(area > LEAST_AREA * area.max())
        middle[axis] = points[:, axis].min() + steps[axis] * (used[0] + used[-1]) / 2
        length[axis] = steps[axis] * (used[-1] - used[0] + 1)
        end_area[axis] = max(area[used[0]], area[used[-1]]) / area.max()
    return Box(length, length, np.zeros(3), end_area), directions @ middle


def stack_about(
    box: Box, middle: np.ndarray, directions: np.ndarray, seen: BoxRange, definition: DatasetDefinition
) -> np.ndarray:
    """Returns the affine of the stack about an anatomy, `[4, 4]`, (w, h, k, 1) to world mm.

    The anatomy lies where it does in the median training volume, but moved along the slices as far as needed to be
    within the stack. Slices lie at whole multiples of their distance from the world's origin, so that the planes of two
    stacks of opposite directions are the same.

    Args:
        box: Box of the anatomy.
        middle: `[3]`, its middle in the world, mm.
        directions: `[3, 3]`, axes of the stack.
        seen: Boxes of the training data.
        definition: Field of view and number of slices.
    """
    size = np.array([definition.image_size, definition.image_size, definition.num_slices])
    depth = definition.stack_share * seen.median.extent[2] / definition.num_slices
    spacing = np.array([definition.pixel_spacing, definition.pixel_spacing, depth])
    slack = max(0.0, (size[2] * depth - box.foreground[2]) / 2)
    offset = seen.median.offset * [1, 1, 0] + np.array([0, 0, np.clip(seen.median.offset[2], -slack, slack)])
    first = directions.T @ middle - offset - spacing * (size - 1) / 2
    first[2] = depth * np.round(first[2] / depth)
    return nibabel.affines.from_matvec(directions * spacing, directions @ first)


def warn_of_depth(box: Box, affine: np.ndarray, num_slices: int, path: str | os.PathLike) -> None:
    """Warns if an anatomy is longer along the slices than the stack that was placed about it."""
    depth = num_slices * np.linalg.norm(affine[:3, 2])
    if box.foreground[2] > depth:
        warn(
            f'{path}: its anatomy is {box.foreground[2]:.0f} mm long along its slices, the stack of the model '
            f'{depth:.0f} mm; the ends of the anatomy are not completed.'
        )
