"""Trained models with a NumPy interface: what they have in common, and a trained `ConditionalBruno`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.data.encoding import from_level_middle, one_hot_poses, to_level_middle
from tfp_bruno.models import ConditionalBruno

# Subjects whose slices are decoded together.
_AT_ONCE = 8


class NumpyModel:
    """A trained model with the settings of its dataset, see `tfp_bruno.contracts.CompletionModel`.

    Slices are given by their numbers k in a stack of K, images as float32 `[..., H, W]` in [0, 1].

    Attributes:
        definition: The dataset it was trained for.
        name: Name for reports.
        info: What the model was trained on.
        has_exact_log_prob: Whether `log_prob` is the density itself; otherwise it is a lower bound.
        sampling: How samples are drawn, empty if there is nothing to report.
        temperature: Factor of the samples' deviations from the mean, in latent space.
    """

    def __init__(
        self,
        definition: DatasetDefinition,
        name: str,
        info: RunInfo,
        has_exact_log_prob: bool,
        sampling: Mapping[str, Any] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.definition = definition
        self.name = name
        self.info = info
        self.has_exact_log_prob = has_exact_log_prob
        self.sampling = sampling or {}
        self.temperature = temperature

    def _one_hot(self, slices: ArrayLike) -> tf.Tensor:
        """Returns the one-hot poses `[..., K]` of slices `[...]`."""
        return tf.constant(one_hot_poses(slices, self.definition.num_slices))

    def _encoded(self, images: np.ndarray) -> tf.Tensor:
        """Returns images `[..., H, W]` in [0, 1] as the networks take them, `[..., H, W, 1]`."""
        return tf.constant(to_level_middle(np.asarray(images, np.float32))[..., None])

    def _decoded(self, images: tf.Tensor) -> np.ndarray:
        """Returns images `[..., H, W, 1]` of the networks as `[..., H, W]` in [0, 1]."""
        return np.clip(from_level_middle(images.numpy()[..., 0]), 0.0, 1.0)


class TrainedModel(NumpyModel):
    """A trained `ConditionalBruno`.

    Attributes:
        bruno: The `ConditionalBruno`.
        sampling: Arguments of the process' `sample`, see `ModelSettings`.
    """

    def __init__(
        self,
        bruno: ConditionalBruno,
        definition: DatasetDefinition,
        name: str,
        info: RunInfo,
        sampling: Mapping[str, Any] | None = None,
        temperature: float = 1.0,
    ) -> None:
        """Wraps a model; see `load`."""
        super().__init__(definition, name, info, True, sampling, temperature)
        self.bruno = bruno
        self._predict = tf.function(self._mean_images, autograph=False, reduce_retracing=True)
        self._sample = tf.function(self._sample_images, autograph=False, reduce_retracing=True)
        self._log_prob = tf.function(self._joint_log_prob, autograph=False, reduce_retracing=True)

    def with_temperature(self, temperature: float) -> 'TrainedModel':
        """Returns the same model whose samples deviate from the mean `temperature` times as much."""
        return TrainedModel(self.bruno, self.definition, self.name, self.info, self.sampling, temperature)

    def subject_poses(
        self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the poses of contexts and queries of a subject.

        Args:
            context_images: `[n, H, W]` in [0, 1], n >= 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers of the queries.

        Returns:
            context_poses: `[n, P]`.
            query_poses: `[Q, P]`.
        """
        del context_images  # The number of a slice is its pose.
        return self._one_hot(context_slices), self._one_hot(query_slices)

    def predict(self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike) -> np.ndarray:
        """Returns the decoded mean of the process at every query slice.

        Args:
            context_images: `[S, n, H, W]`, n >= 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            float32 `[S, Q, H, W]` in [0, 1].
        """
        poses = self.subject_poses(context_images[0], context_slices, query_slices)
        # A few subjects at once: the same memory for any number of them.
        parts = [context_images[first : first + _AT_ONCE] for first in range(0, len(context_images), _AT_ONCE)]
        means = [self._decoded(self._predict(self._encoded(part), *poses)) for part in parts]
        return np.concatenate(means)

    def sample(
        self,
        context_images: np.ndarray,
        context_slices: ArrayLike,
        query_slices: ArrayLike,
        num_samples: int,
        seed: int,
    ) -> np.ndarray:
        """Draws all query slices jointly.

        Args:
            context_images: `[S, n, H, W]`, n >= 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to draw.
            num_samples: N.
            seed: Seed of the samples.

        Returns:
            float32 `[N, S, Q, H, W]` in [0, 1].
        """
        drawn = []
        for subject, contexts in enumerate(context_images):
            stateless = tf.constant([seed % 2**31, subject], tf.int32)
            poses = self.subject_poses(contexts, context_slices, query_slices)
            images = self._sample(self._encoded(contexts), *poses, tf.constant(num_samples), stateless)
            drawn.append(self._decoded(images))
        return np.stack(drawn, axis=1)

    def log_prob(self, images: np.ndarray, slices: ArrayLike) -> np.ndarray:
        """Returns the joint log-density of slices, in nats, on the continuous intensities given.

        Args:
            images: `[S, n, H, W]` in [0, 1].
            slices: `[n]`, their slice numbers.

        Returns:
            `[S]`.
        """
        densities = []
        for stack in images:
            poses, _ = self.subject_poses(stack, slices, [])
            densities.append(self._log_prob(tf.constant(stack[..., None], tf.float32), poses))
        return np.array(densities)

    def _mean_images(self, contexts: tf.Tensor, context_poses: tf.Tensor, query_poses: tf.Tensor) -> tf.Tensor:
        posterior = self.bruno.posterior(contexts, context_poses, tf.shape(query_poses)[0])
        return posterior.mean_image(query_poses)

    def _sample_images(
        self,
        contexts: tf.Tensor,
        context_poses: tf.Tensor,
        query_poses: tf.Tensor,
        num_samples: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        posterior = self.bruno.posterior(contexts, context_poses, tf.shape(query_poses)[0])
        process = posterior.distribution
        latents = process.sample(num_samples, seed=seed, conditional_input=query_poses, **self.sampling)
        if self.temperature != 1.0:
            mean = process.mean(conditional_input=query_poses)
            latents = mean + self.temperature * (latents - mean)
        # One sample after the other: that stays in the caches of a processor, and in less memory.
        return tf.map_fn(lambda latent: posterior.decode(latent, query_poses), latents, parallel_iterations=1)

    def _joint_log_prob(self, images: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        empty = self.bruno.posterior(images[:0], poses[:0], tf.shape(images)[0])
        return empty.log_prob(images, bijector_kwargs={'conditional_input': poses})
