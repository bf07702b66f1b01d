"""Finds the map of a subject from slices of it: the mode of the posterior of displacement and appearance."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import linalg, ndimage

from tfp_bruno.registration.canonical_model import CanonicalModel, interpolation
from tfp_bruno.registration.frames import Frame
from tfp_bruno.registration.subject_map import SubjectMap

__all__ = ['FoundMap', 'MapSearch']

# The longest step of an iteration, and the step at which the search ends, mm.
_LONGEST_STEP = 6.0
_SHORTEST_STEP = 0.15
_FOREGROUND = 0.02


@dataclasses.dataclass(frozen=True)
class FoundMap:
    """The mode of the posterior of a subject's map.

    Attributes:
        subject: The map.
        scores: `[r]`, component scores at the mode.
        covariance: `[3 M, 3 M]`, covariance of the displacement's coefficients: the inverse of the Hessian
            (Gauss-Newton), a Laplace approximation.
        error: Root mean square of the difference between slices and model, in grey levels of [0, 1].
        log_posterior: Value of the objective of `MapSearch` at the map, nats.
        misfit: `-log_posterior` for each block of foreground in the slices; large if slices or displacement are
            unusual.
    """

    subject: SubjectMap
    scores: np.ndarray
    covariance: np.ndarray
    error: float
    log_posterior: float = 0.0
    misfit: float = 0.0


@dataclasses.dataclass(frozen=True)
class MapSearch:
    """Settings of the search for a subject's map.

    #### Mathematical Details

    For slices x at points p of the stack, with component scores h and coefficients c of the displacement,

    ```none
    (c, h) = argmax  -|x - V_h(a(p) + d_c(a(p)))|^2 / (2 noise^2) - |c|^2 / 2 - |h|^2 / 2,   V_h = mean + loadings h
    ```

    by Gauss-Newton steps. Images are averaged over blocks of `block` x `block` pixels.

    #### References

    [1]: Timothy Cootes, Gareth Edwards, Christopher Taylor. Active appearance models. ECCV 1998.
    [2]: John Ashburner, Karl Friston. Nonlinear spatial normalization using basis functions. Human Brain Mapping 1999.

    Attributes:
        ranks: Numbers of components of successive searches, each from the result of the one before.
        noise: Standard deviation of a block, which also stands for what neighbouring blocks err together.
        block: Side of the blocks, pixels.
        iterations: Steps of each search, at most.
    """

    ranks: tuple[int, ...] = (0, 8, 15)
    noise: float = 0.1
    block: int = 2
    iterations: int = 12

    def find(
        self,
        model: CanonicalModel,
        images: np.ndarray,
        slices: np.ndarray,
        frame: Frame,
        coefficients: np.ndarray | None = None,
    ) -> FoundMap:
        """Returns the map of a subject.

        Args:
            model: Appearance in the canonical volume.
            images: `[n, H, W]`, slices of the subject in [0, 1].
            slices: `[n]`, their positions in the stack.
            frame: Frame of the subject, from which the search starts.
            coefficients: `[3, M]`, displacement from which the search starts; `None` for none.
        """
        space = model.space
        observed, points = self._observed(images, slices)
        subject = SubjectMap(frame, np.zeros((3, space.basis.size)) if coefficients is None else coefficients)
        start = space.start(subject, points)
        functions = space.basis.at(start).reshape(-1, space.basis.size)
        origin = np.stack(np.meshgrid(*start, indexing='ij')).reshape(3, -1)
        scores = np.zeros(0)
        for rank in self.ranks:
            scores = np.pad(scores, (0, max(0, min(rank, model.rank) - len(scores))))
            subject, scores, hessian = self._search(model, observed, origin, functions, subject, scores)
        size = subject.coefficients.size
        factor = linalg.cho_factor(hessian)
        covariance = linalg.cho_solve(factor, np.eye(len(hessian)))[:size, :size]
        return self.at(model, images, slices, subject, covariance)

    def at(
        self,
        model: CanonicalModel,
        images: np.ndarray,
        slices: np.ndarray,
        subject: SubjectMap,
        covariance: np.ndarray | None = None,
    ) -> FoundMap:
        """Returns scores, error and objective at a map that is known.

        Args:
            model: Appearance in the canonical volume.
            images: `[n, H, W]`, slices of the subject in [0, 1].
            slices: `[n]`, their positions in the stack.
            subject: The map.
            covariance: Covariance of its coefficients; `None` for zeros.
        """
        size, rank = subject.coefficients.size, min(max(self.ranks), model.rank)
        if covariance is None:
            covariance = np.zeros((size, size))
        if not len(slices):
            return FoundMap(subject, np.zeros(rank), covariance, 0.0, -0.5 * float(np.sum(subject.coefficients**2)))
        observed, points = self._observed(images, slices)
        sampling = interpolation(model.space.grid(subject, points), model.mean.shape)
        components = _averaged(np.moveaxis(model.loadings[..., :rank], -1, 0), self.block)
        loadings = (sampling @ components.reshape(rank, model.mean.size).T).astype(np.float64)
        deviation = observed - sampling @ _averaged(model.mean, self.block).reshape(-1)
        precision = loadings.T @ loadings + self.noise**2 * np.eye(rank)
        scores = linalg.solve(precision, loadings.T @ deviation, assume_a='pos')
        residual = deviation - loadings @ scores
        squares = float(residual @ residual)
        prior = float(np.sum(subject.coefficients**2) + scores @ scores)
        log_posterior = -0.5 * (squares / self.noise**2 + prior)
        misfit = -log_posterior / max(1, int(np.sum(observed > _FOREGROUND)))
        error = float(np.sqrt(squares / residual.size))
        return FoundMap(subject, scores, covariance, error, log_posterior, misfit)

    def _observed(self, images: np.ndarray, slices: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Returns the middles of the blocks of slices, flat, and their coordinates along each axis of the stack."""
        rows, columns = (np.arange(self.block // 2, size, self.block) for size in images.shape[1:])
        return _averaged(images, self.block)[:, rows][:, :, columns].reshape(-1), (slices, rows, columns)

    def _search(
        self,
        model: CanonicalModel,
        observed: np.ndarray,
        origin: np.ndarray,
        functions: np.ndarray,
        subject: SubjectMap,
        scores: np.ndarray,
    ) -> tuple[SubjectMap, np.ndarray, np.ndarray]:
        """Runs the steps with a number of components; returns map, scores and Hessian."""
        size, rank, sides = functions.shape[1], len(scores), model.space.basis.voxel_size
        # Not averaged over blocks: that would change the map by a hundredth of a voxel.
        loadings = np.ascontiguousarray(model.loadings[..., :rank].reshape(model.mean.size, rank))
        parameters = np.concatenate([subject.coefficients.ravel(), scores])
        for _ in range(self.iterations):
            coefficients = parameters[: 3 * size].reshape(3, size).astype(np.float32)
            volume = _averaged(model.volume(parameters[3 * size :]), self.block)
            fields = [volume, *(slope / side for slope, side in zip(np.gradient(volume), sides, strict=True))]
            sampling = interpolation(origin + (coefficients @ functions.T) / sides[:, None], volume.shape)
            sampled = sampling @ np.stack([field.reshape(-1) for field in fields], axis=1)
            residual = observed - sampled[:, 0]
            jacobian = np.concatenate(
                [*(sampled[:, [axis]] * functions for axis in (1, 2, 3)), sampling @ loadings], axis=1
            )
            hessian = (jacobian.T @ jacobian).astype(np.float64) / self.noise**2 + np.eye(len(parameters))
            gradient = (jacobian.T @ residual).astype(np.float64) / self.noise**2 - parameters
            step = linalg.solve(hessian, gradient, assume_a='pos')
            longest = np.abs(functions @ step[: 3 * size].reshape(3, size).T.astype(np.float32)).max()
            shortened = min(1.0, _LONGEST_STEP / max(longest, 1e-9))
            parameters = parameters + shortened * step
            if longest < _SHORTEST_STEP:
                break
        found = SubjectMap(subject.frame, parameters[: 3 * size].reshape(3, size))
        return found, parameters[3 * size :], hessian


def _averaged(images: np.ndarray, block: int) -> np.ndarray:
    """Returns images `[..., H, W]` averaged about each pixel over blocks."""
    return ndimage.uniform_filter(images, (*[0] * (images.ndim - 2), block, block)) if block > 1 else images
