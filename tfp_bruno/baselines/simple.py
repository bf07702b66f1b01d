"""Baselines without a model of the anatomy: training mean, nearest training subject, linear interpolation."""

import numpy as np

from tfp_bruno.baselines.base import Baseline, check_training_images


class TrainingMean(Baseline):
    """Predicts the mean of the training subjects, whatever the contexts are."""

    def __init__(self, train_images: np.ndarray) -> None:
        """Computes the mean over the training subjects.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: If the shape is wrong or there is no subject.
        """
        train_images = check_training_images(train_images)
        super().__init__(train_images.shape[1:])
        self._mean = mean_over_subjects(train_images)

    def _predict(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        return np.repeat(self._mean[None, query_slices], len(context_images), axis=0)


class NearestSubject(Baseline):
    """Predicts the slices of the training subject with the least squared error at the context slices.

    Without contexts, that is the training subject closest to their mean. A subject that is itself among the training
    subjects finds itself.
    """

    def __init__(self, train_images: np.ndarray) -> None:
        """Keeps the training subjects, without a copy.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: If the shape is wrong or there is no subject.
        """
        self._train_images = check_training_images(train_images)
        super().__init__(self._train_images.shape[1:])
        self._most_typical = _nearest(self._train_images, mean_over_subjects(self._train_images))

    def _predict(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        if len(context_slices):
            candidates = self._train_images[:, context_slices]
            chosen = [_nearest(candidates, images) for images in context_images]
        else:
            chosen = [self._most_typical] * len(context_images)
        return self._train_images[chosen][:, query_slices]


class LinearInterpolation(Baseline):
    """Interpolates linearly between the two nearest context slices; beyond the outermost ones, repeats them.

    The context slices are returned exactly. Without contexts it predicts the mean of the training subjects.
    """

    def __init__(self, train_images: np.ndarray) -> None:
        """Computes the prediction without contexts.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: If the shape is wrong or there is no subject.
        """
        self._training_mean = TrainingMean(train_images)
        super().__init__(self._training_mean.stack_shape)

    def _predict(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        if not len(context_slices):
            return self._training_mean.predict(context_images, context_slices, query_slices)
        weights = interpolation_weights(context_slices, query_slices)
        return np.einsum('qn,snhw->sqhw', weights, context_images, optimize=True)


def interpolation_weights(context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
    """Returns the weight of every context slice in every query slice.

    Args:
        context_slices: `[n]`, n at least 1, in any order.
        query_slices: `[Q]`.

    Returns:
        `[Q, n]`; every row sums to 1 and has at most two weights that are not 0.
    """
    order = np.argsort(context_slices)
    weights = np.empty((len(query_slices), len(context_slices)))
    for rank, index in enumerate(order):
        hat = np.arange(len(order)) == rank
        weights[:, index] = np.interp(query_slices, context_slices[order], hat)
    return weights


def mean_over_subjects(images: np.ndarray) -> np.ndarray:
    """Returns the mean of stacks `[S, K, H, W]` in double precision, as float32 `[K, H, W]`."""
    return images.mean(axis=0, dtype=np.float64).astype(np.float32)


def _nearest(candidates: np.ndarray, images: np.ndarray) -> int:
    """Returns the index of the candidate with the least squared error; one at a time, without a copy of all."""
    return int(np.argmin([np.sum(np.square(each - images), dtype=np.float64) for each in candidates]))
