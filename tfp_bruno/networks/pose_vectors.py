"""Pose vectors of slices that lie anywhere in a canonical volume, for the grids of `grids.py`."""

import numpy as np
from numpy.typing import ArrayLike

# Size of an affine pose, a 3 x 4 matrix.
AFFINE_SIZE = 12


def plane_matrix(position: float, image_size: tuple[int, int], thickness: float = 1.0) -> np.ndarray:
    """Returns the 3 x 4 matrix of a plane of the canonical volume, see `AffineGrid`."""
    matrix = np.zeros([3, 4])
    matrix[[1, 2, 0], [0, 1, 2]] = 1.0, 1.0, thickness
    matrix[:, 3] = position, (image_size[0] - 1) / 2, (image_size[1] - 1) / 2
    return matrix


def affine_pose(matrix: ArrayLike) -> np.ndarray:
    """Returns poses of `AffineGrid`.

    Args:
        matrix: `[..., 3, 4]`, with the columns step to the next row, step to the next column, normal times thickness,
            and centre of the slice, in voxels.

    Returns:
        `[..., 12]`, float32.

    Raises:
        ValueError: If the shape is another, or a value is not finite.
    """
    matrix = _checked(matrix, 'matrix', '[..., 3, 4]')
    if matrix.shape[-2:] != (3, 4):
        raise ValueError(f'`matrix` has shape {matrix.shape}, not [..., 3, 4]; give rows, columns, normal and centre.')
    return matrix.reshape(*matrix.shape[:-2], AFFINE_SIZE)


def displaced_pose(matrix: ArrayLike, displacement: ArrayLike) -> np.ndarray:
    """Returns poses of `DisplacedGrid`.

    Args:
        matrix: `[..., 3, 4]`, see `affine_pose`.
        displacement: `[..., 3, n, n]`, in voxels.

    Returns:
        `[..., 12 + 3 n^2]`, float32.

    Raises:
        ValueError: If a shape is another, or a value is not finite.
    """
    affine = affine_pose(matrix)
    displacement = _checked(displacement, 'displacement', '[..., 3, n, n]')
    shape = displacement.shape[-3:]
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise ValueError(f'`displacement` has shape {displacement.shape}, not [..., 3, n, n]; give three components.')
    flat = displacement.reshape(*displacement.shape[:-3], int(np.prod(shape)))
    try:
        batch = np.broadcast_shapes(affine.shape[:-1], flat.shape[:-1])
    except ValueError:
        raise ValueError(
            f'`matrix` has the batch shape {affine.shape[:-1]}, but `displacement` {flat.shape[:-1]}; give one of each '
            'for every slice.'
        ) from None
    return np.concatenate([np.broadcast_to(part, (*batch, part.shape[-1])) for part in (affine, flat)], axis=-1)


def _checked(values: ArrayLike, name: str, shape: str) -> np.ndarray:
    """Returns finite numbers as float32, or raises a `ValueError`."""
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f'`{name}` is not an array of numbers; give one of shape {shape}.') from None
    if not np.isfinite(array).all():
        raise ValueError(f'`{name}` holds NaN or infinity; give finite voxels.')
    return array
