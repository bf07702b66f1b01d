"""Prior of a subject: a Gaussian of size, place, displacement and appearance together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tfp_bruno.registration.frames import Frame
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

# Share of the identity in the covariance. Of 0.35, 0.5 and 0.7 the middle one was best on validation subjects.
_SHRINKAGE = 0.5
# Standard deviations of the logarithm of a size and, relative to the size, of a place, that count as much as so many
# training subjects.
_LOG_SIZE_STD = 0.1
_PLACE_STD = 0.15
_PSEUDO_SUBJECTS = 2
_LARGEST_LOG_SIZE = 1.5
# Training subjects that are kept, at most.
_MOST_SUBJECTS = 500


@dataclasses.dataclass(frozen=True)
class MapPrior:
    """A Gaussian prior of the parameters of a subject, of mean zero.

    #### Mathematical Details

    The parameters are

    ```none
    z = (c, log(size / size_0) / s, (place - place_0) / s', h)
    ```

    with the coefficients c of the displacement, size and place of the subject's frame and of the canonical frame, and
    the component scores h. Shape, size and appearance of an anatomy go together, so the covariance is that of the
    training subjects, shrunk towards the identity:

    ```none
    Cov(z) = (1 - w) mean(z z^T) + w I
    ```

    #### References

    [1]: Olivier Ledoit, Michael Wolf. A well-conditioned estimator for large-dimensional covariance matrices.
         Journal of Multivariate Analysis 2004.

    Attributes:
        space: The canonical space.
        scale: `[6]`, the scales s and s' of size and place.
        covariance: `[P, P]`, P = 3 M + 6 + q.
        subjects: float32 `[S, P]`, parameters of training subjects, from which a search may start.
    """

    space: CanonicalSpace
    scale: np.ndarray
    covariance: np.ndarray
    subjects: np.ndarray

    @classmethod
    def standard(cls, space: CanonicalSpace, rank: int) -> MapPrior:
        """Returns the prior without training subjects: independent parameters.

        Args:
            space: The canonical space.
            rank: Number of component scores.
        """
        size = 3 * space.basis.size + 6 + rank
        return cls(space, _least_scale(space.frame), np.eye(size), np.zeros((1, size), np.float32))

    @classmethod
    def fit(cls, space: CanonicalSpace, maps: Sequence[SubjectMap], scores: np.ndarray) -> MapPrior:
        """Returns the prior of subjects like the training subjects.

        Args:
            space: The canonical space.
            maps: Map of each training subject.
            scores: `[S, q]`, their component scores.
        """
        frames = np.array([_frame_numbers(space.frame, subject.frame) for subject in maps])
        squares = np.sum(np.square(frames), axis=0) + _PSEUDO_SUBJECTS * np.square(_least_scale(space.frame))
        scale = np.sqrt(squares / (len(frames) + _PSEUDO_SUBJECTS))
        coefficients = np.array([subject.coefficients.ravel() for subject in maps])
        parameters = np.concatenate([coefficients, frames / scale, scores], axis=1)
        moments = parameters.T @ parameters / len(parameters)
        covariance = (1 - _SHRINKAGE) * moments + _SHRINKAGE * np.eye(len(moments))
        kept = np.unique(np.linspace(0, len(parameters) - 1, _MOST_SUBJECTS).astype(int))
        return cls(space, scale, covariance, parameters[kept].astype(np.float32))

    @property
    def map_size(self) -> int:
        """Number of parameters of a map, 3 M + 6: displacement, size and place."""
        return 3 * self.space.basis.size + 6

    @functools.cached_property
    def precision(self) -> np.ndarray:
        """Inverse of the covariance, `[P, P]`."""
        return np.linalg.inv(self.covariance)

    def directions(self, alignment: str) -> np.ndarray:
        """Returns orthonormal directions `[P, p]` of the parameters that an alignment searches for.

        Args:
            alignment: 'similarity' for place, one size and a rotation (7 parameters), 'affine' for place, a size along
                each axis, shears and tilts (12), 'deformable' for all; in each case with the component scores.
        """
        every, num_functions, first = np.eye(len(self.covariance)), self.space.basis.size, self.map_size - 6
        if alignment == 'deformable':
            return every
        sizes, place, scores = np.split(every[:, first:], [3, 6], axis=1)

        def slope(axis: int, along: int) -> np.ndarray:
            """Displacement along one axis that grows linearly along another."""
            return every[:, axis * num_functions + 1 + along]

        if alignment == 'affine':
            linear = [slope(axis, along) for axis in range(3) for along in range(3) if axis != along]
        else:
            # Logarithms of the sizes are stored in units of their scales.
            sizes = (sizes @ (1 / self.scale[:3]))[:, None] / np.linalg.norm(1 / self.scale[:3])
            linear = [
                (slope(axis, along) - slope(along, axis)) / np.sqrt(2) for axis, along in ((0, 1), (0, 2), (1, 2))
            ]
        return np.concatenate([sizes, place, np.stack(linear, axis=1), scores], axis=1)

    def map_covariance(self, alignment: str = 'deformable') -> np.ndarray:
        """Returns the covariance of a map, see `FoundMap.covariance`, given that all else is zero; see `directions`."""
        along = self.directions(alignment)
        covariance = along @ np.linalg.inv(along.T @ self.precision @ along) @ along.T
        return self.in_units(covariance[: self.map_size, : self.map_size])

    def pack(self, subject: SubjectMap, scores: np.ndarray) -> np.ndarray:
        """Returns the parameters of a subject with component scores; those that are not given are zero."""
        parameters = np.zeros(len(self.covariance))
        numbers = _frame_numbers(self.space.frame, subject.frame) / self.scale
        packed = np.concatenate([subject.coefficients.ravel(), numbers, scores])
        parameters[: len(packed)] = packed
        return parameters

    def unpack(self, parameters: np.ndarray) -> tuple[SubjectMap, np.ndarray]:
        """Returns map and component scores of parameters."""
        coefficients, numbers, scores = np.split(parameters, [self.map_size - 6, self.map_size])
        numbers = numbers * self.scale
        frame = self.space.frame
        # A step may try sizes that no subject has.
        log_sizes = np.clip(numbers[:3], -_LARGEST_LOG_SIZE, _LARGEST_LOG_SIZE)
        found = Frame(frame.size * np.exp(log_sizes), frame.place + numbers[3:])
        return SubjectMap(found, coefficients.reshape(3, -1)), scores

    def in_units(self, covariance: np.ndarray) -> np.ndarray:
        """Returns a covariance `[3 M + 6, 3 M + 6]` of maps with sizes and places not divided by their scales."""
        scale = self._map_scale
        return covariance * np.outer(scale, scale)

    def log_occam_factor(self, subject: SubjectMap, covariance: np.ndarray) -> float:
        """Returns the log-density of the prior less that of a Gaussian posterior, at the posterior's mode.

        Args:
            subject: The mode.
            covariance: Covariance of the posterior, see `FoundMap.covariance`.
        """
        mode = self.pack(subject, np.zeros(0))[: self.map_size]
        prior = self.covariance[: self.map_size, : self.map_size]
        log_dets = [np.linalg.slogdet(matrix)[1] for matrix in (covariance, prior)]
        distance = mode @ np.linalg.solve(prior, mode)
        return float(0.5 * (log_dets[0] - log_dets[1] - distance) - np.sum(np.log(self.scale)))

    @property
    def _map_scale(self) -> np.ndarray:
        return np.concatenate([np.ones(self.map_size - 6), self.scale])


def _frame_numbers(canonical: Frame, frame: Frame) -> np.ndarray:
    """Returns size and place of a frame against the canonical one: `[6]`, log-ratios and differences in voxels."""
    return np.concatenate([np.log(frame.size / canonical.size), frame.place - canonical.place])


def _least_scale(frame: Frame) -> np.ndarray:
    return np.concatenate([np.full(3, _LOG_SIZE_STD), _PLACE_STD * frame.size])
