"""Finds the map of a subject from slices of it: the mode of the posterior of map and appearance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfp_bruno.registration.appearance_fields import AppearanceFields, averaged
from tfp_bruno.registration.map_prior import MapPrior
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

# The longest step of an iteration, and the step at which the search ends, mm.
_LONGEST_STEP = 6.0
_SHORTEST_STEP = 0.15
_FOREGROUND = 0.02
# Maps that differ by less, in nats, explain the slices equally well.
_EQUALLY_PROBABLE = 5.0
# The starts are compared at every other block along rows and columns.
_THINNING = 2


@dataclasses.dataclass(frozen=True)
class FoundMap:
    """The mode of the posterior of a subject's map.

    Attributes:
        subject: The map.
        scores: `[q]`, component scores at the mode.
        covariance: `[3 M + 6, 3 M + 6]`, covariance of the displacement's coefficients, of the logarithms of the sizes
            and of the place in voxels: the inverse of the Hessian (Gauss-Newton), a Laplace approximation; 0 for what
            is not searched for.
        error: Root mean square of the difference between slices and model, in grey levels of [0, 1].
        log_posterior: Value of the objective of `MapSearch` at the map, nats.
        misfit: `-log_posterior` for each block of foreground in the slices; large if slices or map are unusual.
        ambiguity: Distance of the farthest other map that was found and is as probable (within 5 nats): root mean
            square over the foreground of the slices, canonical mm. 0 if there is none.
    """

    subject: SubjectMap
    scores: np.ndarray
    covariance: np.ndarray
    error: float = 0.0
    log_posterior: float = 0.0
    misfit: float = 0.0
    ambiguity: float = 0.0


class _Blocks(NamedTuple):
    """Slices, averaged over blocks of pixels.

    Attributes:
        images: `[N]`, the blocks of all slices.
        points: Coordinates of their middles along each axis of the stack.
    """

    images: np.ndarray
    points: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, images: np.ndarray, slices: np.ndarray, block: int, thinning: int = 1) -> _Blocks:
        rows, columns = (np.arange(block // 2, size, block * thinning) for size in images.shape[1:])
        chosen = averaged(np.asarray(images, np.float32), block)[:, rows][:, :, columns]
        return cls(chosen.reshape(-1), (np.asarray(slices, float), rows, columns))


class _Linearization(NamedTuple):
    """Error of the model at some parameters, and its Jacobian, for those blocks where slices or model are not black.

    Attributes:
        error: `[N]`, slices less model.
        jacobian: `[N, P]`, of the model by the parameters.
        origin: `[3, N]`, canonical coordinates before the displacement, less the place of the canonical frame.
        functions: `[N, M]`, functions of the displacement there.
        steps: `[3]`, canonical voxels for each voxel of the stack.
    """

    error: np.ndarray
    jacobian: np.ndarray
    origin: np.ndarray
    functions: np.ndarray
    steps: np.ndarray


@dataclasses.dataclass(frozen=True)
class MapSearch:
    """Settings of the search for a subject's map.

    #### Mathematical Details

    For slices x at points p of the stack, with the parameters z of `MapPrior`: a frame a, component scores h and a
    displacement d,

    ```none
    z* = argmax  -|x - V_h(a(p) + d(a(p)))|^2 / (2 noise^2) - z^T Cov(z)^-1 z / 2,   V_h = mean + loadings h
    ```

    by Gauss-Newton steps from the parameters of those training subjects that are nearest to the slices. Images are
    averaged over blocks of `block` x `block` pixels.

    #### References

    [1]: Timothy Cootes, Gareth Edwards, Christopher Taylor. Active appearance models. ECCV 1998.
    [2]: John Ashburner, Karl Friston. Nonlinear spatial normalization using basis functions. Human Brain Mapping 1999.

    Attributes:
        noise: Standard deviation of a block, which also stands for what neighbouring blocks err together.
        block: Side of the blocks, pixels.
        iterations: Steps from each start, at most.
        num_starts: Number of starts.
    """

    noise: float = 0.07
    block: int = 2
    iterations: int = 25
    num_starts: int = 4

    def find(
        self,
        fields: AppearanceFields,
        prior: MapPrior,
        images: np.ndarray,
        slices: np.ndarray,
        directions: np.ndarray | None = None,
    ) -> FoundMap:
        """Returns the map of a subject: the most probable of those found from several starts.

        Args:
            fields: Appearance in the canonical volume, averaged over blocks of this search.
            prior: Prior of map and component scores.
            images: `[n, H, W]`, slices of the subject in [0, 1].
            slices: `[n]`, their positions in the stack.
            directions: `[P, p]`, orthonormal directions of the parameters that are searched for, see
                `MapPrior.directions`; `None`: all.
        """
        starts = self.starts(fields, prior, images, slices, directions)[0][: self.num_starts]
        found = [self.refine(fields, prior, images, slices, *prior.unpack(start), directions) for start in starts]
        best = max(found, key=lambda each: each.log_posterior)
        equal = [each for each in found if best.log_posterior - each.log_posterior < _EQUALLY_PROBABLE]
        return dataclasses.replace(
            best, ambiguity=_spread(prior.space, images, slices, [best.subject, *(each.subject for each in equal)])
        )

    def refine(
        self,
        fields: AppearanceFields,
        prior: MapPrior,
        images: np.ndarray,
        slices: np.ndarray,
        subject: SubjectMap,
        scores: np.ndarray,
        directions: np.ndarray | None = None,
    ) -> FoundMap:
        """Returns the map that is found from one start.

        Args:
            fields: Appearance in the canonical volume, averaged over blocks of this search.
            prior: Prior of map and component scores.
            images: `[n, H, W]`, slices of the subject in [0, 1].
            slices: `[n]`, their positions in the stack.
            subject: Map of the start.
            scores: Component scores of the start.
            directions: As for `find`.
        """
        blocks = _Blocks.of(images, slices, self.block)
        parameters = prior.pack(subject, scores)
        precision = prior.precision
        along = np.eye(len(parameters)) if directions is None else directions
        for _ in range(self.iterations):
            linear = self._linearize(fields, prior, blocks, parameters)
            hessian = (linear.jacobian.T @ linear.jacobian).astype(np.float64) / self.noise**2 + precision
            slope = (linear.error @ linear.jacobian).astype(np.float64) / self.noise**2 - precision @ parameters
            step = along @ np.linalg.solve(along.T @ hessian @ along, along.T @ slope)
            longest = _largest_shift(prior, linear, step)
            parameters = parameters + min(1.0, _LONGEST_STEP / max(longest, 1e-9)) * step
            if longest < _SHORTEST_STEP:
                break
        covariance = along @ np.linalg.inv(along.T @ hessian @ along) @ along.T
        covariance = prior.in_units(covariance[: prior.map_size, : prior.map_size])
        return self.at(fields, prior, images, slices, prior.unpack(parameters)[0], covariance)

    def at(
        self,
        fields: AppearanceFields,
        prior: MapPrior,
        images: np.ndarray,
        slices: np.ndarray,
        subject: SubjectMap,
        covariance: np.ndarray | None = None,
    ) -> FoundMap:
        """Returns scores, error and objective at a map that is known.

        Args:
            fields: Appearance in the canonical volume, averaged over blocks of this search.
            prior: Prior of map and component scores.
            images: `[n, H, W]`, slices of the subject in [0, 1].
            slices: `[n]`, their positions in the stack.
            subject: The map.
            covariance: Covariance of the map; `None` for zeros.
        """
        if covariance is None:
            covariance = np.zeros((prior.map_size, prior.map_size))
        blocks = _Blocks.of(images, slices, self.block)
        parameters, known = prior.pack(subject, np.zeros(fields.rank)), prior.map_size
        precision = prior.precision
        values = fields.values_at(prior.space.grid(subject, blocks.points).reshape(3, -1)).astype(np.float64)
        mean, loadings = values[0], values[1:]
        projected = loadings @ (blocks.images - mean) / self.noise**2 - precision[known:] @ parameters
        hessian = loadings @ loadings.T / self.noise**2 + precision[known:, known:]
        scores = np.linalg.solve(hessian, projected)
        parameters[known:] = scores
        residual = blocks.images - mean - scores @ loadings
        squares = float(residual @ residual)
        log_posterior = -0.5 * (squares / self.noise**2 + float(parameters @ precision @ parameters))
        misfit = -log_posterior / max(1, int(np.sum(blocks.images > _FOREGROUND)))
        error = float(np.sqrt(squares / max(1, residual.size)))
        return FoundMap(subject, scores, covariance, error, log_posterior, misfit)

    def starts(
        self,
        fields: AppearanceFields,
        prior: MapPrior,
        images: np.ndarray,
        slices: np.ndarray,
        directions: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compares slices with the training subjects as they are; arguments as `find`.

        Returns:
            Their parameters `[S, P]` and squared errors `[S]`, the least error first.
        """
        blocks = _Blocks.of(images, slices, self.block, _THINNING)
        candidates = prior.subjects.astype(float)
        if directions is not None:
            candidates = candidates @ directions @ directions.T
        errors = []
        for parameters in candidates:
            subject, scores = prior.unpack(parameters)
            values = fields.values_at(prior.space.grid(subject, blocks.points).reshape(3, -1))
            errors.append(np.sum(np.square(blocks.images - _combined(values, scores))))
        order = np.argsort(errors, kind='stable')
        return candidates[order], np.array(errors)[order]

    def _linearize(
        self, fields: AppearanceFields, prior: MapPrior, blocks: _Blocks, parameters: np.ndarray
    ) -> _Linearization:
        """Returns error and Jacobian; the slopes of the displacement itself count as zero beside 1."""
        space, (subject, scores) = prior.space, prior.unpack(parameters)
        start = space.start(subject, blocks.points)
        functions = space.basis.at(start).reshape(-1, space.basis.size)
        origin = np.stack(np.meshgrid(*start, indexing='ij')).reshape(3, -1).astype(np.float32)
        shift = subject.coefficients.astype(np.float32) @ functions.T
        sides = space.basis.voxel_size.astype(np.float32)[:, None]
        points = origin + shift / sides
        # Elsewhere error and slopes are zero; most of a stack is background.
        seen = fields.occupied_at(points) | (blocks.images != 0)
        functions, origin, images = functions[seen], origin[:, seen], blocks.images[seen]
        values, slopes = fields.at(points[:, seen])
        origin = origin - space.frame.place.astype(np.float32)[:, None]
        steps = space.frame.size / subject.frame.size
        jacobian = np.empty((values.shape[1], len(parameters)), np.float32)
        size = space.basis.size
        for axis, slope in enumerate(_combined(slopes, scores)):
            jacobian[:, axis * size : (axis + 1) * size] = slope[:, None] * functions
            by_voxel = slope * -sides[axis]
            jacobian[:, 3 * size + axis] = by_voxel * origin[axis] * prior.scale[axis]
            jacobian[:, 3 * size + 3 + axis] = by_voxel * steps[axis] * prior.scale[3 + axis]
        jacobian[:, prior.map_size :] = values[1:].T
        return _Linearization(images - _combined(values, scores), jacobian, origin, functions, steps)


def _spread(space: CanonicalSpace, images: np.ndarray, slices: np.ndarray, maps: Sequence[SubjectMap]) -> float:
    """Returns the largest root mean square distance, mm, of the first map and another over the slices' foreground."""
    foreground = images[:, ::_THINNING, ::_THINNING] > _FOREGROUND
    points = (slices, *(np.arange(0, size, _THINNING) for size in images.shape[1:]))
    if len(maps) < 2 or not foreground.any():
        return 0.0
    places = [space.grid(each, points)[:, foreground] * space.basis.voxel_size[:, None] for each in maps]
    return float(max(np.sqrt(np.mean(np.sum(np.square(each - places[0]), axis=0))) for each in places[1:]))


def _combined(sampled: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the mean and the components, weighted by their scores `[q]`, of `[..., 1 + q, N]`: `[..., N]`."""
    return sampled[..., 0, :] + np.tensordot(scores.astype(np.float32), sampled[..., 1:, :], ([0], [-2]))


def _largest_shift(prior: MapPrior, linear: _Linearization, step: np.ndarray) -> float:
    """Returns by how much a step moves a point along an axis, at most, mm."""
    coefficients, numbers, _ = np.split(step, [prior.map_size - 6, prior.map_size])
    shifts = linear.functions @ coefficients.reshape(3, -1).T.astype(np.float32)
    log_sizes, places = np.split(numbers * prior.scale, 2)
    shifts -= (linear.origin.T * log_sizes + linear.steps * places) * prior.space.basis.voxel_size
    return float(np.abs(shifts).max(initial=0.0))
