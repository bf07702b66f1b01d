"""A trained deep baseline, with the interface that evaluation and reconstruction use."""

import numpy as np
import tensorflow as tf

from tfp_bruno.errors import UserError
from tfp_bruno.runs.numpy_model import NumpyModel

__all__ = ['TrainedBaseline']

_IMAGES_AT_ONCE = 160


class TrainedBaseline(NumpyModel):
    """A Generative Query Network or a conditional VAE with the settings of its dataset.

    Attributes:
        network: The `ContextModel`.
        definition: The `DatasetDefinition` it was trained for.
        name: Name for reports.
        info: Dict of what the model was trained on.
    """

    def __init__(self, network, definition, name, info, pixel_std):
        """Wraps a model; see `load`. The pixels' standard deviation `pixel_std` is that of the end of its training."""
        super().__init__(definition, name, info, has_exact_log_prob=False)
        self.network = network
        self._pixel_std = pixel_std
        self._represent = tf.function(network.represent, autograph=False, reduce_retracing=True)
        self._mean_image = tf.function(network.mean_image, autograph=False, reduce_retracing=True)
        self._draw = tf.function(network.sample, autograph=False, reduce_retracing=True)
        self._joint_elbo = tf.function(network.joint_elbo, autograph=False, reduce_retracing=True)

    def with_temperature(self, temperature):
        """Returns the model itself at temperature 1, the only one it has.

        Raises:
            UserError: if another is asked for.
        """
        if temperature != 1.0:
            raise UserError(f'`temperature={temperature}`: {self.name} has none; leave it out.')
        return self

    def predict(self, context_images, context_slices, query_slices):
        """Returns a typical image of every query slice.

        Args:
            context_images: Array `[S, n, H, W]`, n >= 0.
            context_slices: Integers `[n]`.
            query_slices: Integers `[Q]`.

        Returns:
            float32 array `[S, Q, H, W]` in [0, 1]: the decoded mean of the latent variables.
        """
        poses = self.poses(query_slices)[None]
        return np.concatenate(
            [
                self._decoded(self._mean_image(poses, self._encoded(contexts, context_slices)))
                for contexts in context_images
            ]
        )

    def sample(self, context_images, context_slices, query_slices, num_samples, seed):
        """Draws query slices; given the contexts, they are independent of each other.

        Args:
            context_images: Array `[S, n, H, W]`, n >= 0.
            context_slices: Integers `[n]`.
            query_slices: Integers `[Q]`.
            num_samples: Integer, N.
            seed: Integer.

        Returns:
            float32 array `[N, S, Q, H, W]` in [0, 1]: the pixels' means for latent variables that were drawn, without
            the pixels' own noise.
        """
        poses = self.poses(query_slices)
        at_once = max(1, _IMAGES_AT_ONCE // max(1, len(poses)))
        drawn = []
        for subject, contexts in enumerate(context_images):
            encoded, parts = self._encoded(contexts, context_slices), []
            for first in range(0, num_samples, at_once):
                number = min(at_once, num_samples - first)
                # Stateless, and another stream for every call.
                key = np.random.SeedSequence((seed, subject, first)).generate_state(2) >> 1
                images = self._draw(tf.tile(poses, [number, 1])[None], encoded, tf.constant(key, tf.int32))
                parts.append(self._decoded(images)[0].reshape(number, len(poses), *images.shape[2:4]))
            drawn.append(np.concatenate(parts))
        return np.stack(drawn, axis=1)

    def log_prob(self, images, slices):
        """Returns a lower bound of the joint log-density of slices, in nats, on the continuous intensities given.

        Args:
            images: Array `[S, n, H, W]` in [0, 1].
            slices: Integers `[n]`.

        Returns:
            Array `[S]`. Each slice is predicted from those before it, so the bound depends on their order.
        """
        poses, seed = self.poses(slices), tf.constant([0, 1])
        std = tf.constant(self._pixel_std, tf.float32)
        return np.array([self._joint_elbo(tf.constant(x[..., None], tf.float32), poses, std, seed) for x in images])

    def _encoded(self, contexts, slices):
        images, poses = self._inputs(contexts, slices)
        return self._represent(images[None], poses[None])
