"""A trained `ConditionalBruno`, with the interface that evaluation and reconstruction use."""

import numpy as np
import tensorflow as tf

from tfp_bruno.runs.numpy_model import NumpyModel

__all__ = ['TrainedModel']

# Subjects whose slices are decoded together.
_AT_ONCE = 8


class TrainedModel(NumpyModel):
    """A `ConditionalBruno` with the settings of its dataset.

    Attributes:
        bruno: The `ConditionalBruno`.
        definition: The `DatasetDefinition` it was trained for.
        name: Name for reports.
        info: Dict of what the model was trained on.
        sampling: Dict of arguments of the process' `sample` by which samples are drawn, see `ModelSettings`.
        temperature: Factor of all deviations of samples from the mean, in latent space.
    """

    def __init__(self, bruno, definition, name, info, sampling=None, temperature=1.0):
        """Wraps a model; see `load`."""
        super().__init__(definition, name, info, True, sampling, temperature)
        self.bruno = bruno
        self._predict = tf.function(self._mean_images, autograph=False, reduce_retracing=True)
        self._sample = tf.function(self._sample_images, autograph=False, reduce_retracing=True)
        self._log_prob = tf.function(self._joint_log_prob, autograph=False, reduce_retracing=True)

    def with_temperature(self, temperature):
        """Returns the same model whose samples deviate from the mean `temperature` times as much."""
        return TrainedModel(self.bruno, self.definition, self.name, self.info, self.sampling, temperature)

    def predict(self, context_images, context_slices, query_slices):
        """Returns the mean image of every query slice.

        Args:
            context_images: Array `[S, n, H, W]`, n >= 0.
            context_slices: Integers `[n]`.
            query_slices: Integers `[Q]`.

        Returns:
            float32 array `[S, Q, H, W]` in [0, 1]: the decoded mean of the process.
        """
        poses = self.poses(query_slices)
        # A few subjects at once: the same memory for any number of them.
        parts = [context_images[first : first + _AT_ONCE] for first in range(0, len(context_images), _AT_ONCE)]
        means = [self._decoded(self._predict(*self._inputs(part, context_slices), poses)) for part in parts]
        return np.concatenate(means)

    def sample(self, context_images, context_slices, query_slices, num_samples, seed):
        """Draws all query slices jointly.

        Args:
            context_images: Array `[S, n, H, W]`, n >= 0.
            context_slices: Integers `[n]`.
            query_slices: Integers `[Q]`.
            num_samples: Integer, N.
            seed: Integer.

        Returns:
            float32 array `[N, S, Q, H, W]` in [0, 1].
        """
        drawn = []
        for subject, contexts in enumerate(context_images):
            stateless = tf.constant([seed % 2**31, subject], tf.int32)
            inputs = self._inputs(contexts, context_slices)
            images = self._sample(*inputs, self.poses(query_slices), tf.constant(num_samples), stateless)
            drawn.append(self._decoded(images))
        return np.stack(drawn, axis=1)

    def log_prob(self, images, slices):
        """Returns the joint log-density of slices, in nats, on the continuous intensities given.

        Args:
            images: Array `[S, n, H, W]` in [0, 1].
            slices: Integers `[n]`.

        Returns:
            Array `[S]`.
        """
        return np.array([self._log_prob(tf.constant(x[..., None], tf.float32), self.poses(slices)) for x in images])

    def _mean_images(self, contexts, context_poses, query_poses):
        posterior = self.bruno.posterior(contexts, context_poses, tf.shape(query_poses)[0])
        return posterior.mean_image(query_poses)

    def _sample_images(self, contexts, context_poses, query_poses, num_samples, seed):
        posterior = self.bruno.posterior(contexts, context_poses, tf.shape(query_poses)[0])
        process = posterior.distribution
        latents = process.sample(num_samples, seed=seed, conditional_input=query_poses, **self.sampling)
        if self.temperature != 1.0:
            mean = process.mean(conditional_input=query_poses)
            latents = mean + self.temperature * (latents - mean)
        # One sample after the other: that stays in the caches of a processor, and in less memory.
        return tf.map_fn(lambda latent: posterior.decode(latent, query_poses), latents, parallel_iterations=1)

    def _joint_log_prob(self, images, poses):
        empty = self.bruno.posterior(images[:0], poses[:0], tf.shape(images)[0])
        return empty.log_prob(images, bijector_kwargs={'conditional_input': poses})
