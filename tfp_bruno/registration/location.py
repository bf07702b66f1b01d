"""Where slices of a subject lie in the canonical volume: size, place and displacement of the anatomy, coordinates."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfp_bruno.registration.canonical_model import CanonicalModel, interpolation
from tfp_bruno.registration.map_search import FoundMap

# The anatomy of the canonical volume, and the distance of the points at which displacements are measured, voxels.
_FOREGROUND = 0.02
_SPACING = 3


class _Anatomy(NamedTuple):
    """Displacements over the anatomy of the canonical volume, as linear functions of the coefficients `[M]` of an axis.

    Attributes:
        centre: `[3]`, middle of the anatomy, voxels.
        functions: `[N, M]`, displacement at points of the anatomy, mm.
        shift: `[M]`, displacement of the middle in the closest linear map, mm.
        slopes: `[3, M]`, slope of the displacement along each axis in that map.
    """

    centre: np.ndarray
    functions: np.ndarray
    shift: np.ndarray
    slopes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Location:
    """The place of a subject's slices in the canonical volume.

    Size and shift are those of the linear map closest to the subject's map over the anatomy. Millimetres are those of
    the voxels of the canonical volume. Standard deviations are those of the Laplace approximation.

    Attributes:
        model: Appearance in the canonical volume.
        found: The map of the subject.
        alignment: What was searched for, see `MapFinder.find`.
    """

    model: CanonicalModel
    found: FoundMap
    alignment: str = 'deformable'

    @property
    def size_percent(self) -> np.ndarray:
        """Size `[3]` of the anatomy along (K, H, W) in per cent of that of the canonical volume."""
        return 100 * self._ratios / (1 + self._slopes)

    @property
    def size_std(self) -> np.ndarray | None:
        """Standard deviation `[3]` of `size_percent`; `None` if nothing is searched for."""
        # Of the logarithm of the size: that of the frame's, less the displacement's slope.
        stds = self._stds(-self._anatomy.slopes / (1 + self._slopes[:, None]), np.ones(3), np.zeros(3))
        return None if stds is None else self.size_percent * stds

    @property
    def shift_mm(self) -> np.ndarray:
        """Shift `[3]` of the anatomy in the stack along (K, H, W) against the canonical volume, mm."""
        space, frame = self.model.space, self.found.subject.frame
        return (frame.place + self._offset - self._anatomy.centre) * space.basis.voxel_size

    @property
    def shift_std(self) -> np.ndarray | None:
        """Standard deviation `[3]` of `shift_mm`; `None` if nothing is searched for."""
        sides = self.model.space.basis.voxel_size
        return self._stds(-self._ratios[:, None] * self._anatomy.shift, self._offset * sides, sides)

    @property
    def rms_displacement(self) -> float:
        """Root mean square of the displacement over the anatomy, after size and place of the frame, mm."""
        return float(np.sqrt(np.mean(np.square(self._lengths))))

    @property
    def largest_displacement(self) -> float:
        """Largest displacement in the anatomy, after size and place of the frame, mm."""
        return float(self._lengths.max())

    @property
    def error(self) -> float:
        """Root mean square of the difference between slices and model, in grey levels of [0, 1]."""
        return self.found.error

    def grid(self, slices: ArrayLike, displaced: bool = True) -> np.ndarray:
        """Returns the canonical coordinates of the pixels of slices.

        Args:
            slices: `[n]`, positions in the stack.
            displaced: Whether the displacement counts; otherwise size and place alone.

        Returns:
            float32 `[n, H, W, 3]`, voxels along (K, H, W).
        """
        space, subject = self.model.space, self.found.subject
        if not displaced:
            subject = subject._replace(coefficients=np.zeros_like(subject.coefficients))
        points = (np.asarray(slices, float).reshape(-1), *map(np.arange, self.model.mean.shape[1:]))
        return np.moveaxis(space.grid(subject, points), 0, -1)

    def images(self, slices: ArrayLike, displaced: bool = True) -> np.ndarray:
        """Returns slices of the model with the subject's component scores, float32 `[n, H, W]`; arguments as `grid`."""
        points = self.grid(slices, displaced)
        volume = self.model.volume(self.found.scores)
        sampled = interpolation(np.moveaxis(points, -1, 0), volume.shape) @ volume.reshape(-1)
        return np.clip(sampled, 0, 1).reshape(points.shape[:-1]).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers, for sidecar and report."""
        return {
            'size_percent': _rounded(self.size_percent),
            'size_std_percent': _rounded(self.size_std),
            'shift_mm': _rounded(self.shift_mm),
            'shift_std_mm': _rounded(self.shift_std),
            'rms_displacement_mm': round(self.rms_displacement, 3),
            'largest_displacement_mm': round(self.largest_displacement, 3),
            'error': round(self.error, 5),
        }

    @property
    def _ratios(self) -> np.ndarray:
        return self.found.subject.frame.size / self.model.space.frame.size

    @property
    def _offset(self) -> np.ndarray:
        """Distance `[3]` of the middle of the anatomy from the place of the frame, voxels of the stack."""
        space = self.model.space
        displaced = (
            self._anatomy.centre - self.found.subject.coefficients @ self._anatomy.shift / space.basis.voxel_size
        )
        return (displaced - space.frame.place) * self._ratios

    @property
    def _slopes(self) -> np.ndarray:
        """Slopes `[3]` of the displacement, each along its own axis."""
        return np.sum(self.found.subject.coefficients * self._anatomy.slopes, axis=1)

    @property
    def _lengths(self) -> np.ndarray:
        """Lengths `[N]` of the displacement at points of the anatomy, mm."""
        return np.linalg.norm(self._anatomy.functions @ self.found.subject.coefficients.T, axis=1)

    def _stds(self, coefficients: np.ndarray, log_sizes: np.ndarray, places: np.ndarray) -> np.ndarray | None:
        """Returns the standard deviation `[3]` of linear functions, one for each axis, of the map's parameters.

        Args:
            coefficients: `[3, M]`, weights of the displacement's coefficients along the axis.
            log_sizes: `[3]`, weight of the logarithm of the size along the axis.
            places: `[3]`, weight of the place along the axis.
        """
        if not self.found.covariance.any():
            return None
        weights = np.zeros((3, len(self.found.covariance)))
        size = coefficients.shape[1]
        for axis in range(3):
            weights[axis, axis * size : (axis + 1) * size] = coefficients[axis]
            weights[axis, [3 * size + axis, 3 * size + 3 + axis]] = log_sizes[axis], places[axis]
        return np.sqrt(np.einsum('cm,mn,cn->c', weights, self.found.covariance, weights))

    @functools.cached_property
    def _anatomy(self) -> _Anatomy:
        mean, basis = self.model.mean, self.model.space.basis
        axes = [np.arange(min(_SPACING // 2, size - 1), size, _SPACING) for size in mean.shape]
        inside = mean[np.ix_(*axes)] > _FOREGROUND
        if not inside.any():
            inside[:] = True
        functions = basis.at(axes)[inside].astype(np.float64)
        voxels = np.stack(np.meshgrid(*axes, indexing='ij'), -1)[inside]
        centre = voxels.mean(axis=0)
        regressors = np.column_stack([np.ones(len(voxels)), (voxels - centre) * basis.voxel_size])
        shift, *slopes = np.linalg.pinv(regressors) @ functions
        return _Anatomy(centre, functions, shift, np.stack(slopes))


def _rounded(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else [round(float(value), 3) for value in values]
