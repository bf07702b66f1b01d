"""How likely single slices are for a trained `ConditionalBruno`, given other slices of the subject."""

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import LEVELS, dequantise
from tfp_bruno.runs.trained_model import TrainedModel

__all__ = ['SliceScorer', 'make_scorer']


class SliceScorer:
    """Scores slices: NumPy in, NumPy out."""

    def __init__(self, model, seed=0):
        """Takes a `TrainedModel` and the seed of the noise that spreads grey levels."""
        self._model = model
        self._seed = seed
        score = model.bruno.conditional_log_prob_and_anomaly_score
        self._score = tf.function(score, autograph=False, reduce_retracing=True)

    def __call__(self, images, slices, context_images, context_slices):
        """Scores each slice by itself.

        Args:
            images: Array `[m, H, W]` in [0, 1].
            slices: Integers `[m]`, where they lie.
            context_images: Array `[n, H, W]`, n >= 0.
            context_slices: Integers `[n]`.

        Returns:
            bits: `[m]`, bits per pixel that the model needs for the slice, given the contexts; 8 is ignorance.
            anomaly: `[m]`, nats: how much likelier the contexts make the slice; low is anomalous, 0 without contexts.
        """
        images, contexts = (
            tf.constant(dequantise(values, (self._seed, number))[..., None])
            for number, values in enumerate((images, context_images))
        )
        poses = self._model.poses(np.asarray(slices, np.int64)), self._model.poses(np.asarray(context_slices, np.int64))
        log_prob, anomaly = self._score(images, poses[0], contexts, poses[1])
        pixels = np.prod(images.shape[1:])
        return -log_prob.numpy() / (pixels * np.log(2.0)) + np.log2(LEVELS), anomaly.numpy()


def make_scorer(model, seed=0):
    """Returns the `SliceScorer` of a trained model, or `None` for one that is no `ConditionalBruno`."""
    return SliceScorer(model, seed) if isinstance(model, TrainedModel) else None
