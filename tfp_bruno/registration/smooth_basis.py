"""Smooth scalar fields over a box of voxels, with a Gaussian prior: linear functions and eigenfunctions of a kernel."""

from collections.abc import Sequence

import numpy as np

# Eigenfunctions along one axis that enter the products.
_PER_AXIS = 10
# Prior standard deviation of the slope of a linear function: relative sizes, shears and tilts of subjects.
_SLOPE_STD = 0.05


class SmoothBasis:
    """A basis of smooth scalar fields over a box, in which a Gaussian field has independent standard coefficients.

    #### Mathematical Details

    A constant, the three linear functions, and the leading terms of the Karhunen-Loeve expansion of a Gaussian process
    with the covariance

    ```none
    std^2 exp(-|u - v|^2 / (2 length^2))
    ```

    on the voxels. The covariance is a product over the axes, and so are its eigenfunctions. Between voxels the
    factors are interpolated linearly; outside the box they are constant.

    Attributes:
        shape: `(K, H, W)` of the box.
        voxel_size: Sides of a voxel along (K, H, W), mm.
        length: Length scale of the fields, mm.
        std: Standard deviation of the fields, in the unit of the fields.
        num_modes: Number of eigenfunctions, at most.
    """

    def __init__(
        self, shape: Sequence[int], voxel_size: Sequence[float], length: float, std: float, num_modes: int = 70
    ) -> None:
        """Computes the basis.

        Args:
            shape: `(K, H, W)`.
            voxel_size: Sides of a voxel, mm.
            length: Length scale, mm.
            std: Standard deviation of a field, and of its constant.
            num_modes: Number of eigenfunctions, fewer if the box has fewer.
        """
        self.shape, self.voxel_size = tuple(shape), np.asarray(voxel_size, float)
        self.length, self.std, self.num_modes = length, std, num_modes
        axes = [_eigenfunctions(size, side / length) for size, side in zip(self.shape, self.voxel_size, strict=True)]
        shares = axes[0][0][:, None, None] * axes[1][0][:, None] * axes[2][0]
        order = np.argsort(-shares, axis=None, kind='stable')[:num_modes]
        chosen = np.unravel_index(order, shares.shape)
        # Tables [size, M] along each axis, whose product is a function of the basis.
        eigen = [functions[:, indices] for (_, functions), indices in zip(axes, chosen, strict=True)]
        eigen[0] = eigen[0] * (std * np.sqrt(shares.ravel()[order]))
        self._tables = [
            np.concatenate([linear, functions], axis=1).astype(np.float32)
            for linear, functions in zip(self._linear_tables(), eigen, strict=True)
        ]

    def _linear_tables(self) -> list[np.ndarray]:
        """Returns the factors `[size, 4]` of the constant and the linear functions."""
        tables = []
        for axis, (size, side) in enumerate(zip(self.shape, self.voxel_size, strict=True)):
            table = np.ones((size, 4))
            table[:, 1 + axis] = _SLOPE_STD * side * (np.arange(size) - (size - 1) / 2)
            tables.append(table)
        tables[0][:, 0] *= self.std
        return tables

    @property
    def size(self) -> int:
        """Number of functions, M."""
        return self._tables[0].shape[1]

    def at(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the functions on a grid.

        Args:
            points: Voxel coordinates of the grid along each of the three axes, `[n_0]`, `[n_1]`, `[n_2]`.

        Returns:
            float32 `[n_0, n_1, n_2, M]`.
        """
        depth, rows, columns = (_interpolate(table, at) for table, at in zip(self._tables, points, strict=True))
        in_plane = rows[:, None] * columns
        return depth[:, None, None] * in_plane

    def combine(self, coefficients: np.ndarray, points: Sequence[np.ndarray]) -> np.ndarray:
        """Returns fields on a grid: `[c, n_0, n_1, n_2]` of coefficients `[c, M]`."""
        depth, rows, columns = (_interpolate(table, at) for table, at in zip(self._tables, points, strict=True))
        mixed = np.einsum('cm,km->ckm', coefficients.astype(np.float32), depth)
        by_row = np.einsum('ckm,hm->ckhm', mixed, rows)
        return by_row @ columns.T

    def combine_at(self, coefficients: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Returns fields at single points: `[c, ...]` of coefficients `[c, M]` at voxel coordinates `[3, ...]`."""
        factors = [_interpolate(table, at.ravel()) for table, at in zip(self._tables, points, strict=True)]
        values = coefficients.astype(np.float32) @ (factors[0] * factors[1] * factors[2]).T
        return values.reshape(len(coefficients), *points.shape[1:])


def _eigenfunctions(size: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the leading eigenvalues and eigenfunctions `[size, m]` of a Gaussian kernel of length 1, on one axis.

    The squares of the functions have the mean 1, so that the eigenvalues are shares of the variance.
    """
    positions = side * np.arange(size)
    values, vectors = np.linalg.eigh(np.exp(-0.5 * np.square(np.subtract.outer(positions, positions))))
    count = min(_PER_AXIS, size)
    return np.maximum(values[::-1][:count], 0.0) / size, vectors[:, ::-1][:, :count] * np.sqrt(size)


def _interpolate(table: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns a table `[size, M]` at points `[n]` between its rows, linearly: `[n, M]`."""
    inside = np.clip(points, 0, len(table) - 1)
    lower = np.minimum(inside.astype(int), max(0, len(table) - 2))
    upper = np.minimum(lower + 1, len(table) - 1)
    weight = (inside - lower).astype(np.float32)[:, None]
    return (1 - weight) * table[lower] + weight * table[upper]
