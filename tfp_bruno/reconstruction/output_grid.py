"""The isotropic grid of the written volumes, in the world of the scan, and resampling of stacks and slices to it."""

import dataclasses
import itertools
from collections.abc import Sequence

import nibabel
import numpy as np
from scipy import linalg, ndimage

from tfp_bruno.data import DatasetDefinition, Volume
from tfp_bruno.data.orientation import nearest_orientation
from tfp_bruno.errors import UserError

# 1 GiB of float32 for each volume.
MOST_VOXELS = 2**28
# In voxels of the stack: the rounding error of a grid that is parallel to its axes.
SEPARABLE_WITHIN = 1e-4
# Decimals of a coordinate in voxels, so that a point on a voxel, but for rounding, reads that voxel alone.
DECIMALS = 4


@dataclasses.dataclass(frozen=True)
class OutputGrid:
    """A grid of voxels.

    Attributes:
        shape: Voxels along each axis.
        affine: float64 `[4, 4]`, voxel indices to world RAS mm; isotropic, without shear.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray


def centred_stack_affine(definition: DatasetDefinition) -> np.ndarray:
    """Returns the affine of a stack that belongs to no scan: along the axes of the definition, centred on world 0.

    Returns:
        float64 `[4, 4]`, (w, h, k, 1) to RAS mm.
    """
    spacing = np.array([definition.pixel_spacing, definition.pixel_spacing, definition.slice_spacing])
    size = np.array([definition.image_size, definition.image_size, definition.num_slices])
    axes = nibabel.orientations.axcodes2ornt(tuple(definition.axes))
    matrix = np.zeros((3, 3))
    matrix[axes[:, 0].astype(int), range(3)] = axes[:, 1] * spacing
    return nibabel.affines.from_matvec(matrix, -matrix @ (size - 1) / 2)


def isotropic_grid(
    stack_affine: np.ndarray,
    stack_shape: tuple[int, int, int],
    spacing: float,
    anchor: np.ndarray | None = None,
    axes: str | None = None,
) -> OutputGrid:
    """Returns the isotropic grid that covers a stack.

    Its axes are those of the stack, in the order right, anterior, superior of the anatomy; if the scan's affine has a
    shear, those of the nearest rotation (the orthogonal polar factor). Its centre is the centre of the stack.

    Args:
        stack_affine: `[4, 4]`, (w, h, k, 1) to world mm.
        stack_shape: (K, H, W).
        spacing: Side of a voxel in mm.
        anchor: A world point that becomes the centre of a voxel; the grid's centre then moves by less than a voxel.
        axes: Directions of the stack's axes in the anatomy, such as 'LPS'; `None` for those of the world.

    Returns:
        The OutputGrid; every voxel of the stack is inside it.

    Raises:
        UserError: If it has too many voxels.
    """
    size = np.array(stack_shape[::-1])
    directions = stack_affine[:3, :3] / nibabel.affines.voxel_sizes(stack_affine)
    if axes is None:
        turn = nearest_orientation(nibabel.affines.from_matvec(directions), 'RAS')
    else:
        turn = nibabel.orientations.axcodes2ornt(tuple(axes))
    rotation, _ = linalg.polar(directions @ nibabel.orientations.inv_ornt_aff(turn, (1, 1, 1))[:3, :3])
    centre = nibabel.affines.apply_affine(stack_affine, (size - 1) / 2)
    corners = np.array(list(itertools.product(*[(-0.5, length - 0.5) for length in size])))
    reach = np.abs((nibabel.affines.apply_affine(stack_affine, corners) - centre) @ rotation).max(axis=0)
    # Without the small number, rounding could add an empty layer.
    shape = np.ceil(2 * reach / spacing - 1e-4).astype(int) + (0 if anchor is None else 1)
    if np.prod(shape.astype(float)) > MOST_VOXELS:
        product = ' x '.join(map(str, shape))
        raise UserError(f'`spacing={spacing:g}`: makes {product} voxels, too many; give a larger one.')
    matrix = rotation * spacing
    affine = nibabel.affines.from_matvec(matrix, centre - matrix @ ((shape - 1) / 2))
    if anchor is not None:
        voxel = nibabel.affines.apply_affine(np.linalg.inv(affine), anchor)
        affine[:3, 3] += matrix @ (voxel - np.round(voxel))
    return OutputGrid(tuple(shape.tolist()), affine)


def to_grid(images: np.ndarray, stack_affine: np.ndarray, grid: OutputGrid) -> np.ndarray:
    """Resamples a stack to a grid, linearly.

    Args:
        images: float32 `[K, H, W]`.
        stack_affine: `[4, 4]`, (w, h, k, 1) to world mm.
        grid: The grid to fill.

    Returns:
        float32 `grid.shape`; beyond the centres of the outermost voxels of the stack, their values continue.
    """
    to_stack = np.linalg.inv(stack_affine) @ grid.affine
    steps = np.diag(to_stack)[:3]
    if np.abs(to_stack[:3, :3] - np.diag(steps)).max() * max(grid.shape) < SEPARABLE_WITHIN:
        # Without a shear the axes are parallel: three matrix products are several times faster.
        lengths = zip(steps, to_stack[:3, 3], grid.shape, reversed(images.shape), strict=True)
        return np.einsum('xw,yh,zk,khw->xyz', *(linear_weights(*axis) for axis in lengths), images, optimize=True)
    return ndimage.affine_transform(
        images.transpose(2, 1, 0),
        to_stack[:3, :3],
        offset=to_stack[:3, 3],
        output_shape=grid.shape,
        order=1,
        mode='nearest',
    )


def linear_weights(step: float, offset: float, length: int, source_length: int) -> np.ndarray:
    """Returns the matrix of linear interpolation along one axis.

    Args:
        step: Distance between the points, in voxels of the source.
        offset: Coordinate of the first point.
        length: Number of points.
        source_length: Number of voxels of the source.

    Returns:
        float32 `[length, source_length]`; beyond the centres of the outermost voxels, their values continue.
    """
    points = np.clip(offset + step * np.arange(length), 0, source_length - 1)
    lower = np.minimum(np.floor(points).astype(int), max(source_length - 2, 0))
    weights = np.zeros((length, source_length), np.float32)
    rows = np.arange(length)
    weights[rows, lower] = 1 - (points - lower)
    # A source of one voxel has no upper neighbour.
    weights[rows, np.minimum(lower + 1, source_length - 1)] += points - lower
    return weights


@dataclasses.dataclass(frozen=True)
class KeptSlices:
    """The voxels of a grid that lie on given slices.

    Attributes:
        index: Of the voxels, as NumPy indexes a volume: three integer arrays `[V]`.
        values: float32 `[V]`, the intensities of the slices there.
    """

    index: tuple[np.ndarray, ...]
    values: np.ndarray


def find_kept_slices(given: Sequence[Volume], grid: OutputGrid, to_scan: np.ndarray) -> KeptSlices:
    """Finds the voxels of a grid that lie on given slices: one layer for each.

    Args:
        given: The slices, each a volume with one voxel along one axis; a later one overrides an earlier one.
        grid: The grid.
        to_scan: `[4, 4]`, from the world of the grid to that of the slices.

    Returns:
        The KeptSlices. A voxel that coincides with a voxel of the slice has its intensity; others are interpolated
        linearly in the plane.
    """
    found: dict[str, list[np.ndarray]] = {'index': [], 'values': []}
    for volume in given:
        axis = volume.data.shape.index(1)
        to_slice = np.linalg.inv(volume.affine) @ to_scan @ grid.affine
        # Distance from the plane in output voxels.
        across = to_slice[axis] / np.linalg.norm(to_slice[axis, :3])
        x, y, z = (np.arange(length, dtype=np.float64) for length in grid.shape)
        distance = np.round(across[0] * x[:, None, None] + across[1] * y[:, None] + across[2] * z + across[3], DECIMALS)
        index = np.array(np.nonzero((distance > -0.5) & (distance <= 0.5)))
        plane = [a for a in range(3) if a != axis]
        voxels = np.round(to_slice[plane, :3] @ index + to_slice[plane, 3:], DECIMALS)
        lengths = np.array([volume.data.shape[a] for a in plane])[:, None]
        inside = ((voxels >= 0) & (voxels <= lengths - 1)).all(axis=0)
        image = np.squeeze(volume.data, axis)
        found['index'].append(index[:, inside])
        found['values'].append(ndimage.map_coordinates(image, voxels[:, inside], order=1))
    index = np.concatenate([np.zeros((3, 0), int), *found['index']], axis=1)
    values = np.concatenate([np.zeros(0, np.float32), *found['values']]).astype(np.float32)
    return KeptSlices(tuple(index), values)
