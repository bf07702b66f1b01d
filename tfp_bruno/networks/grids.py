"""Grids: where in a canonical volume each pixel of a slice lies, from the pose of the slice."""

import abc
import dataclasses

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.networks.pose_vectors import AFFINE_SIZE
from tfp_bruno.networks.trilinear import interpolate_points


class Grid(abc.ABC):
    """Maps poses `[..., P]` to grids `[..., T, H, W, 3]`, in voxels (k, h, w) of a canonical volume `[K, H, W, C]`.

    The T parallel grids lie across the thickness of the slice; what is sampled at them is averaged. Grids of equal
    sizes are equal, so they cause no new trace of a `tf.function`.
    """

    image_size: tuple[int, int]

    @property
    @abc.abstractmethod
    def pose_size(self) -> int:
        """Size P of a pose."""

    @abc.abstractmethod
    def _at(self, poses: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
        """Returns the coordinates `[N, T, R, S, 3]` of rows `[R]` and columns `[S]` at poses `[N, P]`."""

    def at(self, poses: tf.Tensor, rows: ArrayLike, columns: ArrayLike) -> tf.Tensor:
        """Returns the coordinates of some pixels, or of points between them.

        Args:
            poses: `[..., P]`.
            rows: `[R]`, in pixels.
            columns: `[S]`, in pixels.

        Returns:
            Voxel coordinates `[..., T, R, S, 3]`.

        Raises:
            ValueError: If the poses have another size.
        """
        poses = tf.convert_to_tensor(poses)
        if poses.shape.rank == 0 or not poses.shape[-1:].is_compatible_with([self.pose_size]):
            raise ValueError(
                f'{type(self).__name__}: poses must have shape [..., {self.pose_size}], got {poses.shape}; encode them '
                'for this grid.'
            )
        dtype = poses.dtype.as_numpy_dtype
        # Some operations take no more than eight axes.
        flat = tf.reshape(poses, [-1, self.pose_size])
        return _like(poses, self._at(flat, np.asarray(rows, dtype), np.asarray(columns, dtype)))

    def __call__(self, poses: tf.Tensor) -> tf.Tensor:
        """Returns the grids `[..., T, H, W, 3]` of poses `[..., P]`."""
        return self.at(poses, *map(np.arange, self.image_size))

    def landmarks(self, poses: tf.Tensor) -> tf.Tensor:
        """Returns the coordinates `[..., 5, 3]` of the corners and of the centre of slices at poses `[..., P]`."""
        poses, last = tf.convert_to_tensor(poses), np.subtract(self.image_size, 1)
        flat = tf.reshape(poses, [-1, poses.shape[-1]])
        corners = tf.reduce_mean(self.at(flat, [0, last[0]], [0, last[1]]), axis=1)
        centre = tf.reduce_mean(self.at(flat, last[:1] / 2, last[1:] / 2), axis=1)
        return _like(poses, tf.concat([tf.reshape(corners, [-1, 4, 3]), centre[:, 0]], axis=1))


@dataclasses.dataclass(frozen=True)
class PlaneGrid(Grid):
    """The planes of the canonical volume: the grid of a one-hot pose `[..., K]` is plane `k = sum over j of j v_j`.

    Attributes:
        num_slices: K.
        image_size: `(H, W)`.
    """

    num_slices: int
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        _check_size(self)

    @property
    def pose_size(self) -> int:
        """K."""
        return self.num_slices

    def _at(self, poses: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
        depth = tf.reduce_sum(poses * tf.range(self.num_slices, dtype=poses.dtype), axis=-1)
        in_plane = np.stack(np.meshgrid(0, rows, columns, indexing='ij'), axis=-1).astype(rows.dtype)
        return depth[..., None, None, None, None] * np.array([1, 0, 0], rows.dtype) + in_plane


@dataclasses.dataclass(frozen=True)
class AffineGrid(Grid):
    """Affine images of slices; a pose is 12 numbers, see `affine_pose`.

    #### Mathematical Details

    ```none
    g(row, column, offset) = matrix (row - (H - 1) / 2, column - (W - 1) / 2, offset, 1)
    ```

    with the 3 x 4 matrix of the pose, in row-major order. Its columns are the step to the next row of the image, the
    step to the next column, the normal times the thickness, and the centre of the slice.

    Attributes:
        image_size: `(H, W)`.
        offsets: Positions of the T parallel grids along the normal, in units of the thickness.
    """

    image_size: tuple[int, int]
    offsets: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        _check_size(self)
        _check_offsets(self)

    @property
    def pose_size(self) -> int:
        """12."""
        return AFFINE_SIZE

    def _at(self, poses: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
        return _affine_points(poses, self, rows, columns)


@dataclasses.dataclass(frozen=True)
class DisplacedGrid(Grid):
    """Displaced affine images of slices; a pose is 12 numbers and a displacement, see `displaced_pose`.

    #### Mathematical Details

    A pose is the 12 numbers of `AffineGrid`, then displacements `[3, n, n]` in voxels at control points that span the
    slice evenly from corner pixel to corner pixel. They are interpolated bilinearly and added to the affine grid.

    Attributes:
        image_size: `(H, W)`.
        control_size: n, 2 or more.
        offsets: Positions of the T parallel grids along the normal, in units of the thickness; all have the same
            displacement.
    """

    image_size: tuple[int, int]
    control_size: int
    offsets: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        _check_size(self)
        _check_offsets(self)
        if self.control_size < 2:
            raise ValueError(f'`control_size` must be 2 or more, got {self.control_size}.')

    @property
    def pose_size(self) -> int:
        """12 + 3 n^2."""
        return AFFINE_SIZE + 3 * self.control_size**2

    def _at(self, poses: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
        size, (height, width) = self.control_size, self.image_size
        control = tf.reshape(poses[:, AFFINE_SIZE:], [-1, 3, size, size])
        by_column = tf.tensordot(control, _linear_weights(columns, width, size), [[3], [1]])
        # [N, 3, S, R]
        displacement = tf.tensordot(by_column, _linear_weights(rows, height, size), [[2], [1]])
        affine = _affine_points(poses[:, :AFFINE_SIZE], self, rows, columns)
        return affine + tf.transpose(displacement, [0, 3, 2, 1])[:, tf.newaxis]


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """A callable from poses to features whose squared distance is the mean squared distance of the landmarks.

    Attributes:
        grid: Grid of the poses.
        pixel_size: Side of a pixel of the canonical volume, in units of the distance of its slices.
    """

    grid: Grid
    pixel_size: float = 1.0

    def __call__(self, poses: tf.Tensor) -> tf.Tensor:
        """Returns the features `[..., 15]` of poses `[..., P]`, in units of the distance of the slices."""
        landmarks = self.grid.landmarks(poses)
        units = np.array([1.0, self.pixel_size, self.pixel_size]) / np.sqrt(5.0)
        scaled = landmarks * units.astype(landmarks.dtype.as_numpy_dtype)
        return _like(poses, tf.reshape(scaled, [-1, 15]))


def interpolate_volume(volume: tf.Tensor | tf.Variable, grid: tf.Tensor, is_fixed: bool = False) -> tf.Tensor:
    """Returns the values of a volume at points, by trilinear interpolation; outside, those of the nearest edge voxel.

    Args:
        volume: `[K, H, W, C]`, of static shape.
        grid: Voxel coordinates (k, h, w), `[..., 3]`.
        is_fixed: Whether no gradient flows into the volume, which makes the gradient to the grid faster.

    Returns:
        `[..., C]`. At voxels they are the values of the volume, exactly.
    """
    volume = tf.convert_to_tensor(volume)
    grid = tf.cast(grid, volume.dtype)
    return _like(grid, interpolate_points(volume, tf.reshape(grid, [-1, 3]), is_fixed))


def sample_volume(volume: tf.Tensor | tf.Variable, grid: tf.Tensor, is_fixed: bool = False) -> tf.Tensor:
    """Returns the values `[..., H, W, C]` of a volume `[K, H, W, C]` at grids `[..., T, H, W, 3]`, averaged over T."""
    planes = [interpolate_volume(volume, plane, is_fixed) for plane in tf.unstack(grid, axis=-4)]
    return planes[0] if len(planes) == 1 else tf.add_n(planes) / len(planes)


def _check_size(grid: Grid) -> None:
    """Stores the size of the image as a tuple; raises a `ValueError` unless it is two positive integers."""
    size = tuple(map(int, grid.image_size))
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f'`image_size` must be two positive integers (H, W), got {grid.image_size}.')
    object.__setattr__(grid, 'image_size', size)


def _linear_weights(positions: np.ndarray, pixels: int, size: int) -> np.ndarray:
    """Returns the weights `[R, size]` of evenly spaced control points at positions `[R]` among a number of pixels."""
    scaled = positions * (size - 1) / max(pixels - 1, 1)
    return np.maximum(0.0, 1.0 - np.abs(scaled[:, None] - np.arange(size))).astype(positions.dtype)


def _check_offsets(grid: AffineGrid | DisplacedGrid) -> None:
    """Stores the offsets as a tuple; raises a `ValueError` unless they are finite."""
    offsets = tuple(map(float, grid.offsets))
    if not offsets or not np.isfinite(offsets).all():
        raise ValueError(f'`offsets` must be one or more finite numbers, got {grid.offsets}.')
    object.__setattr__(grid, 'offsets', offsets)


def _affine_points(
    poses: tf.Tensor, grid: AffineGrid | DisplacedGrid, rows: np.ndarray, columns: np.ndarray
) -> tf.Tensor:
    """Returns the coordinates `[N, T, R, S, 3]` of rows `[R]` and columns `[S]` at affine poses `[N, 12]`."""
    matrix = tf.reshape(poses, [-1, 1, 1, 1, 3, 4])
    height, width = grid.image_size
    offsets = np.asarray(grid.offsets, rows.dtype)[:, None, None, None]
    down = (rows - rows.dtype.type((height - 1) / 2))[:, None, None]
    right = (columns - rows.dtype.type((width - 1) / 2))[:, None]
    return matrix[..., 3] + offsets * matrix[..., 2] + down * matrix[..., 0] + right * matrix[..., 1]


def _like(vectors: tf.Tensor, flat: tf.Tensor) -> tf.Tensor:
    """Gives values `[N, ...]` of a flat batch the batch shape of vectors `[..., P]`."""
    shaped = tf.reshape(flat, tf.concat([tf.shape(vectors)[:-1], tf.shape(flat)[1:]], 0))
    return tf.ensure_shape(shaped, [*vectors.shape[:-1], *flat.shape[1:]])
