"""The loss on held-out subjects, on the same slices every time."""

import numpy as np
import tensorflow as tf

from tfp_bruno.runs import AugmentationSettings
from tfp_bruno.training.sequences import make_sequences
from tfp_bruno.training.tasks import make_task

__all__ = ['HeldOut']

_BATCHES = 6
_SEED = 12345


class HeldOut:
    """A few fixed batches of held-out subjects, without augmentation; it only watches, nothing is selected by it."""

    def __init__(self, images, settings, spacing):
        """Draws the batches.

        Args:
            images: float32 array `[S, K, H, W]` in [0, 1].
            settings: `TrainingSettings`.
            spacing: Three floats, distance between voxels along (K, H, W), mm.
        """
        self._sequences = make_sequences(
            images, settings.sequence_length, settings.batch_size, spacing, AugmentationSettings(), _SEED
        )
        self._task = make_task(settings)
        self._batches: list = []
        self._measure = None

    def measure(self, model):
        """Returns the parts of the training loss of a model, averaged over the batches, with four contexts."""
        if self._measure is None:
            # Only now, so that the first step of the training need not wait.
            self._batches = list(self._sequences.take(_BATCHES))
            self._measure = tf.function(lambda x, poses: self._task.held_out(model, x, poses), autograph=False)
        measured = [self._measure(images, poses) for images, poses in self._batches]
        return {name: float(np.mean([part[name] for part in measured])) for name in measured[0]}
