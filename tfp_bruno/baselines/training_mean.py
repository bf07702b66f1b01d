"""The mean of the training subjects: what is known of a volume before any of its slices is seen."""

import numpy as np

from tfp_bruno.baselines import arguments


class TrainingMean:
    """Predicts the mean training stack for every subject, whatever the contexts are."""

    def __init__(self, train_images):
        """Takes the mean over the training subjects.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: Not of that shape, or no subject.
        """
        self._mean = arguments.check_training_images(train_images).mean(axis=0, dtype=np.float64).astype(np.float32)

    def predict(self, context_images, context_slices, query_slices):
        """Predicts slices.

        Args:
            context_images: `[S, n, H, W]`; only S counts here.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            `[S, Q, H, W]` float32.

        Raises:
            ValueError: The arguments do not belong together or lie outside the stack.
        """
        context_images, _, query_slices = arguments.check_query(
            context_images, context_slices, query_slices, self._mean.shape
        )
        return np.repeat(self._mean[None, query_slices], len(context_images), axis=0)
