"""Scores of single slices under a trained `ConditionalBruno`, given other slices of the subject."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.data.encoding import LEVELS, dequantise
from tfp_bruno.runs.trained_model import TrainedModel

# Slices that are scored together: the loadings of each take some megabytes.
_AT_ONCE = 8


class SliceScorer:
    """Scores slices: NumPy in, NumPy out."""

    def __init__(self, model: TrainedModel, seed: int = 0) -> None:
        """Wraps a model; `seed` is that of the noise within the grey levels."""
        self._model = model
        self._seed = seed
        score = model.bruno.conditional_log_prob_and_anomaly_score
        self._score = tf.function(score, autograph=False, reduce_retracing=True)

    def __call__(
        self, images: np.ndarray, slices: ArrayLike, context_images: np.ndarray, context_slices: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores each slice by itself.

        Args:
            images: `[m, H, W]` in [0, 1].
            slices: `[m]`, their slice numbers.
            context_images: `[n, H, W]`, n >= 0.
            context_slices: `[n]`, their slice numbers.

        Returns:
            bits: `[m]`, bits per pixel of the slice, given the contexts; 8 for uniform grey levels.
            anomaly: `[m]`, nats: how much the contexts raise the log-density of the slice; low is anomalous, 0 without
                contexts.
        """
        context_poses, poses = self._model.subject_poses(context_images, context_slices, slices)
        images, contexts = (
            tf.constant(dequantise(values, (self._seed, number))[..., None])
            for number, values in enumerate((images, context_images))
        )
        scores = [
            self._score(images[first : first + _AT_ONCE], poses[first : first + _AT_ONCE], contexts, context_poses)
            for first in range(0, max(1, len(images)), _AT_ONCE)
        ]
        log_prob, anomaly = (np.concatenate(parts) for parts in zip(*scores, strict=True))
        pixels = np.prod(images.shape[1:])
        return -log_prob / (pixels * np.log(2.0)) + np.log2(LEVELS), anomaly


def make_scorer(model: Any, seed: int = 0) -> SliceScorer | None:
    """Returns the scorer of a trained model, `None` unless it is a `ConditionalBruno`."""
    return SliceScorer(model, seed) if isinstance(model, TrainedModel) else None
