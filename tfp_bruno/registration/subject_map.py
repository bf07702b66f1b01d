"""The map from a subject's stack into the canonical volume: a frame, and a smooth displacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tfp_bruno.registration.frames import Frame
from tfp_bruno.registration.smooth_basis import SmoothBasis

# Iterations of the inversion, and the distance of the points at which it is computed, in voxels.
_INVERSION_STEPS = 6
_INVERSION_SPACING = 4.0


class SubjectMap(NamedTuple):
    """Where the voxels of a subject's stack lie in the canonical volume.

    #### Mathematical Details

    ```none
    u = a(p) + d(a(p)),   a: the frame of the subject to the canonical frame, along each axis;   d: displacement
    ```

    Attributes:
        frame: Size and place of the anatomy in the stack.
        coefficients: `[3, M]`, coefficients of the displacement along (K, H, W) in the basis of the canonical space.
    """

    frame: Frame
    coefficients: np.ndarray

    def moved(self, change: np.ndarray) -> SubjectMap:
        """Returns the map after a change `[3 M + 6]` of coefficients, logarithms of the sizes, and place in voxels."""
        coefficients, log_sizes, place = np.split(change, [self.coefficients.size, self.coefficients.size + 3])
        frame = Frame(self.frame.size * np.exp(log_sizes), self.frame.place + place)
        return SubjectMap(frame, self.coefficients + coefficients.reshape(self.coefficients.shape))


class CanonicalSpace(NamedTuple):
    """The space of the canonical volume.

    Attributes:
        frame: Size and place of the anatomy in the canonical volume.
        basis: Basis of displacements over that volume, mm.
    """

    frame: Frame
    basis: SmoothBasis

    @property
    def identity(self) -> SubjectMap:
        """The map of a subject that lies as the canonical volume does."""
        return SubjectMap(self.frame, np.zeros((3, self.basis.size)))

    def start(self, subject: SubjectMap, points: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the canonical coordinates of a grid before the displacement, along each axis."""
        return [subject.frame.to(self.frame, np.asarray(at, float), axis) for axis, at in enumerate(points)]

    def grid(self, subject: SubjectMap, points: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the canonical voxel coordinates of a grid in a subject's stack.

        Args:
            subject: Map of the subject.
            points: Voxel coordinates of the grid along each axis of the stack, `[n_0]`, `[n_1]`, `[n_2]`.

        Returns:
            float32 `[3, n_0, n_1, n_2]`.
        """
        start = self.start(subject, points)
        return np.stack(np.meshgrid(*start, indexing='ij')).astype(np.float32) + self.displacement(subject, start)

    def displacement(self, subject: SubjectMap, points: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the displacement `[3, n_0, n_1, n_2]` in voxels at canonical coordinates along each axis."""
        sides = self.basis.voxel_size.astype(np.float32)[:, None, None, None]
        return self.basis.combine(subject.coefficients, points) / sides

    def displacement_at(self, subject: SubjectMap, points: np.ndarray) -> np.ndarray:
        """Returns the displacement `[3, ...]` in voxels at single canonical coordinates `[3, ...]`."""
        sides = self.basis.voxel_size.astype(np.float32).reshape(3, *[1] * (points.ndim - 1))
        return self.basis.combine_at(subject.coefficients, points) / sides

    def warp(self, stack: np.ndarray, subject: SubjectMap) -> np.ndarray:
        """Returns a subject's stack `[K, H, W]` in the canonical volume, float32 `[K, H, W]`; NaN outside the stack.

        The map is inverted by fixed-point iteration on a coarse grid; the displacement must be smooth and small.
        """
        coarse = [np.linspace(0, size - 1, 1 + int(np.ceil((size - 1) / _INVERSION_SPACING))) for size in stack.shape]
        steps = np.array([max(float(axis[-1]) / max(len(axis) - 1, 1), 1e-9) for axis in coarse])[:, None, None, None]
        field = self.displacement(subject, coarse)
        target = np.stack(np.meshgrid(*coarse, indexing='ij'))
        start = target
        for _ in range(_INVERSION_STEPS):
            moved = [ndimage.map_coordinates(each, start / steps, order=1, mode='nearest') for each in field]
            start = target - np.stack(moved)
        fine = [_upsampled(each.astype(np.float32), coarse, stack.shape) for each in start]
        points = [self.frame.to(subject.frame, each, axis) for axis, each in enumerate(fine)]
        values = ndimage.map_coordinates(stack, points, np.float32, order=1, mode='nearest')
        outside = [(at < -0.5) | (at > size - 0.5) for at, size in zip(points, stack.shape, strict=True)]
        values[np.any(outside, axis=0)] = np.nan
        return values


def _upsampled(values: np.ndarray, axes: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """Returns values on a coarse grid, interpolated linearly at all voxels `[K, H, W]`."""
    for axis, (positions, size) in enumerate(zip(axes, shape, strict=True)):
        step = positions[1] - positions[0] if len(positions) > 1 else 1.0
        weights = np.maximum(0, 1 - np.abs(np.subtract.outer(np.arange(size), positions)) / step).astype(np.float32)
        values = np.moveaxis(np.tensordot(weights, values, ([1], [axis])), 0, axis)
    return values
