"""Values and slopes of a canonical model's volumes, sampled at any points: what Gauss-Newton steps need of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from tfp_bruno.registration.canonical_model import CanonicalModel, interpolation


@dataclasses.dataclass(frozen=True)
class AppearanceFields:
    """Mean and components of a canonical model and their slopes, averaged over blocks of pixels.

    They are computed once for all subjects and steps; a step samples them and combines them by the component scores.

    Attributes:
        shape: `(K, H, W)` of the canonical volume.
        values: float32 `[K H W, 1 + q]`, mean and components at each voxel.
        slopes: float32 `[K H W, 3 (1 + q)]`, their slopes along (K, H, W), grey levels a mm.
        occupied: bool `[K, H, W]`, whether values or slopes differ from zero anywhere between the voxel and the next
            one along each axis.
    """

    shape: tuple[int, ...]
    values: np.ndarray
    slopes: np.ndarray
    occupied: np.ndarray

    @classmethod
    def of(cls, model: CanonicalModel, block: int) -> AppearanceFields:
        """Returns the fields of a model, averaged over blocks of `block` x `block` pixels."""
        volumes = averaged(np.concatenate([model.mean[None], np.moveaxis(model.loadings, -1, 0)]), block)
        slopes = []
        for axis, side in enumerate(model.space.basis.voxel_size, 1):
            slope = np.gradient(volumes, axis=axis) if volumes.shape[axis] > 1 else np.zeros_like(volumes)
            slopes.append(slope / np.float32(side))
        values, steep = _by_voxel(volumes), _by_voxel(np.concatenate(slopes))
        nonzero = (np.any(values, axis=1) | np.any(steep, axis=1)).reshape(model.mean.shape)
        # At a voxel, the largest of it and of the next ones.
        occupied = ndimage.maximum_filter(nonzero, 2, origin=-1)
        return cls(model.mean.shape, values, steep, occupied)

    @property
    def rank(self) -> int:
        """Number of components, q."""
        return self.values.shape[1] - 1

    def occupied_at(self, points: np.ndarray) -> np.ndarray:
        """Returns whether anything may differ from zero at canonical voxel coordinates `[3, N]`: bool `[N]`."""
        last = np.array(self.shape)[:, None] - 1
        lower = np.clip(points, 0, last).astype(np.intp)
        return self.occupied[tuple(lower)]

    def values_at(self, points: np.ndarray) -> np.ndarray:
        """Samples mean and components at canonical voxel coordinates `[3, N]`: float32 `[1 + q, N]`."""
        occupied = self.occupied_at(points)
        values = np.zeros((self.values.shape[1], points.shape[1]), np.float32)
        values[:, occupied] = (interpolation(points[:, occupied], self.shape) @ self.values).T
        return values

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Samples values and slopes.

        Args:
            points: Canonical voxel coordinates, `[3, N]`.

        Returns:
            Values of mean and components, float32 `[1 + q, N]`, and their slopes, float32 `[3, 1 + q, N]`.
        """
        sampling = interpolation(points, self.shape)
        return (sampling @ self.values).T, (sampling @ self.slopes).T.reshape(3, -1, sampling.shape[0])


def _by_voxel(volumes: np.ndarray) -> np.ndarray:
    """Returns volumes `[m, K, H, W]` as float32 `[K H W, m]`."""
    return np.ascontiguousarray(volumes.reshape(len(volumes), -1).T, np.float32)


def averaged(images: np.ndarray, block: int) -> np.ndarray:
    """Returns images `[..., H, W]` averaged about each pixel over blocks."""
    return ndimage.uniform_filter(images, (*[0] * (images.ndim - 2), block, block)) if block > 1 else images
