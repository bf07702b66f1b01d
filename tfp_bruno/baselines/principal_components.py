"""Conditional Gaussians of principal components of whole volumes, alone and with their residual kriged."""

import numpy as np

from tfp_bruno.baselines import arguments

LENGTHS = (4.0, 8.0, 16.0)

_RESIDUAL_NOISE = 0.02


class PrincipalComponents:
    """Predicts the conditional mean of a probabilistic principal component model (Tipping and Bishop 1999).

    Rank and noise are those that complete left-out training subjects best from the same context slices. Without
    contexts it is the mean of the training subjects.
    """

    _candidates: tuple[float | None, ...] = (None,)

    def __init__(self, population):
        """Takes the components.

        Args:
            population: `ComponentPopulation` of the training subjects.
        """
        self._population = population
        self._chosen = {}

    def predict(self, context_images, context_slices, query_slices):
        """Predicts slices.

        Args:
            context_images: `[S, n, H, W]`, intensities in [0, 1]; n may be 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            `[S, Q, H, W]` float32 in [0, 1].

        Raises:
            ValueError: The arguments do not belong together or lie outside the stack.
        """
        context_images, context_slices, query_slices = arguments.check_query(
            context_images, context_slices, query_slices, self._population.stack_shape
        )
        components = self._population.components
        mean = components.mean[query_slices]
        if not len(context_slices):
            return np.repeat(mean[None], len(context_images), axis=0)
        key = tuple(context_slices)
        if key not in self._chosen:
            self._chosen[key] = self._population.choose(context_slices, self._candidates, self._deviations)
        rank, noise, candidate = self._chosen[key]
        errors = context_images - components.mean[context_slices]
        scores = components.scores(errors, context_slices, rank, noise)
        deviations = self._deviations(components, scores, errors, context_slices, query_slices, candidate)
        return np.clip(mean + deviations, 0.0, 1.0).astype(np.float32)

    def _deviations(self, components, scores, errors, context_slices, query_slices, _):
        """Returns what is predicted about the mean, `[S, Q, H, W]`, linear in scores and errors of the contexts."""
        return components.combine(scores, query_slices)


class KrigedComponents(PrincipalComponents):
    """The same, and what the components leave of the contexts is interpolated over slice position by kriging.

    The covariance falls off exponentially with the distance between slices; its length is chosen with rank and noise.
    """

    _candidates = LENGTHS

    def _deviations(self, components, scores, errors, context_slices, query_slices, length):
        left = errors - components.combine(scores, context_slices)
        weights = kriging_weights(context_slices, query_slices, length)
        kriged = np.tensordot(left.astype(np.float32), weights.astype(np.float32), ([1], [1]))
        return components.combine(scores, query_slices) + np.moveaxis(kriged, -1, 1)


def kriging_weights(context_slices, query_slices, length):
    """Gives the weight of every context slice in every query slice, for a mean of zero.

    Args:
        context_slices: `[n]`, n at least 1.
        query_slices: `[Q]`.
        length: length scale of the exponential covariance, slices.

    Returns:
        `[Q, n]`.
    """
    among = _covariance(context_slices, context_slices, length) + _RESIDUAL_NOISE * np.eye(len(context_slices))
    return np.linalg.solve(among, _covariance(context_slices, query_slices, length)).T


def _covariance(first, second, length):
    return np.exp(-np.abs(np.subtract.outer(first, second)) / length)
