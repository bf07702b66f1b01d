"""The training subject that resembles the contexts most."""

import numpy as np

from tfp_bruno.baselines import arguments


class NearestSubject:
    """Predicts the slices of the training subject with the least squared error at the context slices.

    Without contexts no subject is nearer than another; then it is the one closest to the mean of the training
    subjects, the most typical of them. A subject that is itself among the training subjects finds itself.
    """

    def __init__(self, train_images):
        """Keeps the training subjects.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1]; kept, not copied.

        Raises:
            ValueError: Not of that shape, or no subject.
        """
        self._train_images = arguments.check_training_images(train_images)
        mean = self._train_images.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._typical = int(np.argmin([_squared_error(images, mean) for images in self._train_images]))

    def predict(self, context_images, context_slices, query_slices):
        """Predicts slices.

        Args:
            context_images: `[S, n, H, W]`, intensities in [0, 1]; n may be 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            `[S, Q, H, W]` float32.

        Raises:
            ValueError: The arguments do not belong together or lie outside the stack.
        """
        context_images, context_slices, query_slices = arguments.check_query(
            context_images, context_slices, query_slices, self._train_images.shape[1:]
        )
        nearest = [self._nearest(images, context_slices) for images in context_images]
        return self._train_images[nearest][:, query_slices].astype(np.float32)

    def _nearest(self, context_images, context_slices):
        if not len(context_slices):
            return self._typical
        candidates = self._train_images[:, context_slices]
        return int(np.argmin([_squared_error(images, context_images) for images in candidates]))


def _squared_error(images, others):
    return float(np.sum(np.square(images - others), dtype=np.float64))
