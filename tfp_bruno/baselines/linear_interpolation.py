"""Linear interpolation between the context slices, pixel by pixel."""

import numpy as np

from tfp_bruno.baselines import arguments, training_mean


class LinearInterpolation:
    """Predicts the line between the two context slices around a slice; beyond the ends, the nearest context.

    It returns the context slices exactly. Without contexts there is nothing to interpolate; then it is the mean of the
    training subjects.
    """

    def __init__(self, train_images):
        """Takes what is needed when there are no contexts.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: Not of that shape, or no subject.
        """
        self._stack_shape = np.shape(train_images)[1:]
        self._training_mean = training_mean.TrainingMean(train_images)

    def predict(self, context_images, context_slices, query_slices):
        """Predicts slices.

        Args:
            context_images: `[S, n, H, W]`, intensities in [0, 1]; n may be 0.
            context_slices: `[n]`, slice numbers of the contexts, in any order.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            `[S, Q, H, W]` float32.

        Raises:
            ValueError: The arguments do not belong together or lie outside the stack.
        """
        context_images, context_slices, query_slices = arguments.check_query(
            context_images, context_slices, query_slices, self._stack_shape
        )
        if not len(context_slices):
            return self._training_mean.predict(context_images, context_slices, query_slices)
        weights = interpolation_weights(context_slices, query_slices)
        return np.einsum('qn,snhw->sqhw', weights, context_images, optimize=True).astype(np.float32)


def interpolation_weights(context_slices, query_slices):
    """Gives the weight of every context slice in every query slice.

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
