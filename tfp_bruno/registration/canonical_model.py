"""Appearance of the anatomy in the canonical volume: a mean and components, sampled at any points."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from tfp_bruno.registration.subject_map import CanonicalSpace

_VOXELS_AT_ONCE = 50_000


@dataclasses.dataclass(frozen=True)
class CanonicalModel:
    """Mean and components of volumes that were brought to the canonical space: `mean + loadings h`, `h ~ N(0, I)`.

    Attributes:
        space: The canonical space.
        mean: `[K, H, W]`.
        loadings: `[K, H, W, q]`, components times their standard deviations, the largest first.
    """

    space: CanonicalSpace
    mean: np.ndarray
    loadings: np.ndarray

    @classmethod
    def fit(cls, space: CanonicalSpace, volumes: np.ndarray, rank: int) -> CanonicalModel:
        """Returns the model of volumes `[S, K, H, W]`, with `rank` components at most."""
        flat, shape = volumes.reshape(len(volumes), -1), volumes.shape[1:]
        mean = flat.mean(axis=0)
        if not rank:
            return cls(space, mean.reshape(shape), np.zeros((*shape, 0), np.float32))
        deviations = (flat - mean) / np.float32(np.sqrt(max(1, len(flat) - 1)))
        products = np.zeros((len(flat), len(flat)))
        # In parts, since a copy of all volumes with twice their precision is large.
        for start in range(0, flat.shape[1], _VOXELS_AT_ONCE):
            part = deviations[:, start : start + _VOXELS_AT_ONCE].astype(np.float64)
            products += part @ part.T
        values, vectors = np.linalg.eigh(products)
        count = min(rank, len(flat) - 1, int(np.sum(values > 1e-9 * max(values[-1], 1e-30))))
        loadings = deviations.T @ vectors[:, ::-1][:, :count].astype(np.float32)
        return cls(space, mean.reshape(shape), loadings.reshape(*shape, count))

    @property
    def rank(self) -> int:
        """Number of components, q."""
        return self.loadings.shape[-1]

    def scores(self, volumes: np.ndarray) -> np.ndarray:
        """Returns the component scores `[S, q]` of volumes `[S, K, H, W]` in the canonical space, by least squares."""
        loadings = self.loadings.reshape(-1, self.rank).astype(np.float64)
        deviations = volumes.reshape(len(volumes), -1) - self.mean.reshape(-1)
        return np.linalg.solve(loadings.T @ loadings, loadings.T @ deviations.T).T

    def volume(self, scores: np.ndarray) -> np.ndarray:
        """Returns the volume `[K, H, W]` of component scores `[r]`, r at most q."""
        return self.mean + self.loadings[..., : len(scores)] @ scores.astype(np.float32)


def interpolation(points: np.ndarray, shape: tuple[int, ...]) -> sparse.csr_matrix:
    """Returns the matrix of trilinear interpolation; outside of the box, the nearest voxel counts.

    Args:
        points: Voxel coordinates, `[3, ...]`, N points.
        shape: `(K, H, W)` of the box.

    Returns:
        float32 `[N, K H W]`, of 8 weights in each row.
    """
    last = np.array(shape)[:, None] - 1
    inside = np.clip(points.reshape(3, -1), 0, last)
    lower = np.minimum(inside.astype(np.int64), np.maximum(last - 1, 0))
    upper_weight = (inside - lower).astype(np.float32)
    upper = np.minimum(lower + 1, last)
    columns, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        index = [(upper if side else lower)[axis] for axis, side in enumerate(corner)]
        columns.append(np.ravel_multi_index(index, shape))
        weights.append(
            np.prod([upper_weight[axis] if side else 1 - upper_weight[axis] for axis, side in enumerate(corner)], 0)
        )
    count = inside.shape[1]
    rows = np.arange(0, 8 * count + 1, 8)
    data, indices = np.stack(weights, 1).ravel(), np.stack(columns, 1).ravel()
    return sparse.csr_matrix((data, indices, rows), (count, int(np.prod(shape))))
