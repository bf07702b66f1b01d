"""Conditional Gaussians of principal components of whole volumes, alone and with their residual kriged."""

import itertools
from collections.abc import Sequence

import numpy as np

from tfp_bruno.baselines.base import Baseline, check_training_images
from tfp_bruno.baselines.components import Components

# Candidates for the number of components, the noise that they leave, and the length scale of the kriging, in slices.
RANKS = (10, 20, 40, 80, 160, 240)
NOISES = (0.03, 0.1, 0.3, 1.0, 3.0)
LENGTHS = (4.0, 8.0, 16.0)

# Rank and noise are chosen on every fifth subject, held out, at every second slice.
_HELD_OUT = 5
_THINNING = 2


class ComponentPopulation:
    """Principal components of the training subjects, and of four fifths of them to choose settings on the others.

    Attributes:
        components: Those of all training subjects.
        stack_shape: `(K, H, W)`.
    """

    def __init__(self, train_images: np.ndarray) -> None:
        """Computes both sets of components.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: If the shape is wrong or there is no subject.
        """
        train_images = check_training_images(train_images)
        self.stack_shape = train_images.shape[1:]
        self.components = Components.fit(train_images)
        # Of fewer than three subjects none is held out: the largest rank there is, and the middle noise, are taken.
        self._held_out: tuple[Components, np.ndarray] | None = None
        if len(train_images) > 2:
            held_out = np.arange(len(train_images)) % _HELD_OUT == 0
            self._held_out = Components.fit(train_images[~held_out]), train_images[held_out]

    def choose(self, context_slices: np.ndarray, lengths: Sequence[float | None]) -> tuple[int, float, float | None]:
        """Returns the settings with the least squared error on held-out subjects.

        A prediction is linear in component scores and contexts, so the errors of all settings follow from products of
        the predictions from single scores: no setting is predicted voxel by voxel.

        Args:
            context_slices: `[n]`, n at least 1.
            lengths: Length scales of `Components.predict` to choose from.

        Returns:
            `(rank, noise, length)`.
        """
        if self._held_out is None:
            return len(self.components.loadings), NOISES[len(NOISES) // 2], lengths[0]
        components, unseen = self._held_out
        query = np.setdiff1d(np.arange(self.stack_shape[0])[::_THINNING], context_slices)
        most = len(components.loadings)
        unseen = unseen - components.mean
        contexts, truth = unseen[:, context_slices], unseen[:, query]
        settings = list(itertools.product(sorted({min(rank, most) for rank in RANKS}), NOISES))
        scores = [components.scores(contexts, context_slices, *setting) for setting in settings]
        errors = {}
        for length in lengths:
            slices = context_slices, query, length
            single = components.predict(np.eye(most), np.zeros((most, *contexts.shape[1:])), *slices)
            single = single.reshape(most, -1)
            rest = truth - components.predict(np.zeros((len(contexts), most)), contexts, *slices)
            rest = rest.reshape(len(rest), -1)
            products = (single @ single.T).astype(np.float64)
            shared = (rest @ single.T).astype(np.float64)
            for (rank, noise), each in zip(settings, scores, strict=True):
                gain = np.sum(each * (2.0 * shared[:, :rank] - each @ products[:rank, :rank]))
                errors[rank, noise, length] = np.sum(np.square(rest), dtype=np.float64) - gain
        return min(errors, key=errors.__getitem__)


class PrincipalComponents(Baseline):
    """Predicts the conditional mean of a probabilistic principal component model (Tipping and Bishop 1999).

    Rank and noise are those with the least squared error on held-out training subjects, given the same context slices.
    Without contexts it predicts the mean of the training subjects.
    """

    _lengths: tuple[float | None, ...] = (None,)

    def __init__(self, population: ComponentPopulation) -> None:
        """Predicts with the components of the training subjects."""
        super().__init__(population.stack_shape)
        self._population = population
        self._chosen: dict[tuple[int, ...], tuple[int, float, float | None]] = {}

    def _predict(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        components = self._population.components
        mean = components.mean[query_slices]
        if not len(context_slices):
            return np.repeat(mean[None], len(context_images), axis=0)
        key = tuple(context_slices.tolist())
        if key not in self._chosen:
            self._chosen[key] = self._population.choose(context_slices, self._lengths)
        rank, noise, length = self._chosen[key]
        errors = context_images - components.mean[context_slices]
        scores = components.scores(errors, context_slices, rank, noise)
        deviations = components.predict(scores, errors, context_slices, query_slices, length)
        return np.clip(mean + deviations, 0.0, 1.0)


class KrigedComponents(PrincipalComponents):
    """Adds to `PrincipalComponents` the residual of the context slices, interpolated over slice position by kriging.

    The covariance decays exponentially with the distance between slices; its length scale is chosen with rank and
    noise.
    """

    _lengths = LENGTHS
