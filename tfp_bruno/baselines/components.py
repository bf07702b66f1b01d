"""Principal components of whole volumes, and how well they complete subjects that were left out of them."""

import dataclasses
import itertools

import numpy as np
from sklearn.decomposition import PCA

from tfp_bruno.baselines import arguments

RANKS = (10, 20, 40, 80, 160, 240)
NOISES = (0.03, 0.1, 0.3, 1.0, 3.0)

# Every so many subjects are left out, and seen at every so many slices, to choose rank and noise.
_LEFT_OUT = 5
_THINNING = 2


@dataclasses.dataclass(frozen=True)
class Components:
    """A mean volume and the components of what varies about it.

    Attributes:
        mean: `[K, H, W]`.
        loadings: `[q, K, H, W]`, principal components times their standard deviations, the largest first.
    """

    mean: np.ndarray
    loadings: np.ndarray

    @classmethod
    def fit(cls, images):
        """Returns the components of volumes `[S, K, H, W]`, as many as `RANKS` asks for and S - 1 allow."""
        count = min(RANKS[-1], len(images) - 1)
        if not count:
            return cls(images[0], np.zeros((0, *images.shape[1:]), np.float32))
        pca = PCA(n_components=count, svd_solver='full').fit(images.reshape(len(images), -1))
        loadings = pca.components_ * np.sqrt(pca.explained_variance_)[:, None]
        shape = images.shape[1:]
        return cls(pca.mean_.reshape(shape).astype(np.float32), loadings.reshape(count, *shape).astype(np.float32))

    def scores(self, errors, context_slices, rank, noise):
        """Returns the conditional mean `[S, rank]` of the scores, given context slices about the mean.

        Args:
            errors: `[S, n, H, W]`, context slices less their mean.
            context_slices: `[n]`.
            rank: number of components.
            noise: standard deviation of what they leave of a pixel.
        """
        errors = errors.reshape(len(errors), -1)
        seen = self.loadings[:rank, context_slices].reshape(rank, errors.shape[1]).astype(np.float64)
        precision = seen @ seen.T + noise**2 * np.eye(rank)
        return np.linalg.solve(precision, seen @ errors.T).T

    def combine(self, scores, slices):
        """Returns the components at slices `[Q]`, weighted by scores `[S, rank]`: `[S, Q, H, W]`."""
        return np.tensordot(scores.astype(np.float32), self.loadings[: scores.shape[1], slices], 1)


class ComponentPopulation:
    """Components of all training subjects, and of four fifths of them, by which settings are chosen on the rest.

    Attributes:
        components: those of all.
        stack_shape: `(K, H, W)`.
    """

    def __init__(self, train_images):
        """Fits both.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: Not of that shape, or no subject.
        """
        train_images = arguments.check_training_images(train_images)
        self.stack_shape = train_images.shape[1:]
        self.components = Components.fit(train_images)
        left_out = np.arange(len(train_images)) % _LEFT_OUT == 0
        # Too few to leave one out: the largest rank there is, and the middle noise.
        self._held_out = None
        if len(train_images) > 2:
            self._held_out = Components.fit(train_images[~left_out]), train_images[left_out]

    def choose(self, context_slices, candidates, predict):
        """Returns the candidate with the least squared error on subjects that the components were not fitted to.

        A prediction is linear in scores and contexts, so the errors of all scores follow from products of what single
        scores predict: no candidate is predicted voxel by voxel.

        Args:
            context_slices: `[n]`, n at least 1.
            candidates: further settings besides rank and noise, each a value that `predict` takes.
            predict: callable of (components, scores, context images about the mean, context slices, query slices,
                candidate) that returns `[S, Q, H, W]` about the mean, linear in scores and images together.

        Returns:
            `(rank, noise, candidate)`.
        """
        if self._held_out is None:
            return len(self.components.loadings), NOISES[len(NOISES) // 2], candidates[0]
        components, unseen = self._held_out
        query = np.setdiff1d(np.arange(self.stack_shape[0])[::_THINNING], context_slices)
        most = len(components.loadings)
        unseen = unseen - components.mean
        contexts, truth = unseen[:, context_slices], unseen[:, query]
        settings = list(itertools.product(sorted({min(rank, most) for rank in RANKS}), NOISES))
        scores = [components.scores(contexts, context_slices, *setting) for setting in settings]
        errors = {}
        for candidate in candidates:
            slices = context_slices, query, candidate
            single = predict(components, np.eye(most), np.zeros((most, *contexts.shape[1:])), *slices)
            single = single.reshape(most, -1)
            rest = truth - predict(components, np.zeros((len(contexts), most)), contexts, *slices)
            rest = rest.reshape(len(rest), -1)
            products = (single @ single.T).astype(np.float64)
            shared = (rest @ single.T).astype(np.float64)
            for (rank, noise), each in zip(settings, scores, strict=True):
                gain = np.sum(each * (2.0 * shared[:, :rank] - each @ products[:rank, :rank]))
                errors[rank, noise, candidate] = np.sum(np.square(rest), dtype=np.float64) - gain
        return min(errors, key=errors.__getitem__)
