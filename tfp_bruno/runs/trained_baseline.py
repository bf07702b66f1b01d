"""A trained deep baseline with a NumPy interface."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.baselines.deep import ContextModel
from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.errors import UserError
from tfp_bruno.runs.trained_model import NumpyModel

_IMAGES_AT_ONCE = 160


class TrainedBaseline(NumpyModel):
    """A trained Generative Query Network or conditional VAE.

    Attributes:
        network: The deep baseline.
    """

    def __init__(
        self, network: ContextModel, definition: DatasetDefinition, name: str, info: RunInfo, pixel_std: float
    ) -> None:
        """Wraps a model; see `load`. `pixel_std` is the pixels' standard deviation at the end of its training."""
        super().__init__(definition, name, info, has_exact_log_prob=False)
        self.network = network
        self._pixel_std = pixel_std
        self._represent = tf.function(network.represent, autograph=False, reduce_retracing=True)
        self._mean_image = tf.function(network.mean_image, autograph=False, reduce_retracing=True)
        self._draw = tf.function(network.sample, autograph=False, reduce_retracing=True)
        self._joint_elbo = tf.function(network.joint_elbo, autograph=False, reduce_retracing=True)

    def with_temperature(self, temperature: float) -> 'TrainedBaseline':
        """Returns the model itself at temperature 1, the only one it has.

        Raises:
            UserError: If another temperature is given.
        """
        if temperature != 1.0:
            raise UserError(f'`temperature={temperature}`: {self.name} has none; leave it out.')
        return self

    def predict(self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike) -> np.ndarray:
        """Returns the image of every query slice, decoded from the mean of the latent variables.

        Args:
            context_images: `[S, n, H, W]`, n >= 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            float32 `[S, Q, H, W]` in [0, 1].
        """
        poses = self._one_hot(query_slices)[None]
        means = [self._mean_image(poses, self._represented(contexts, context_slices)) for contexts in context_images]
        return np.concatenate([self._decoded(mean) for mean in means])

    def sample(
        self,
        context_images: np.ndarray,
        context_slices: ArrayLike,
        query_slices: ArrayLike,
        num_samples: int,
        seed: int,
    ) -> np.ndarray:
        """Draws query slices; given the contexts, they are independent of each other.

        Args:
            context_images: `[S, n, H, W]`, n >= 0.
            context_slices: `[n]`, slice numbers of the contexts.
            query_slices: `[Q]`, slice numbers to draw.
            num_samples: N.
            seed: Seed of the samples.

        Returns:
            float32 `[N, S, Q, H, W]` in [0, 1]: the pixels' means given the drawn latent variables, without the
            pixels' own noise.
        """
        poses = self._one_hot(query_slices)
        at_once = max(1, _IMAGES_AT_ONCE // max(1, len(poses)))
        drawn = []
        for subject, contexts in enumerate(context_images):
            encoded, parts = self._represented(contexts, context_slices), []
            for first in range(0, num_samples, at_once):
                number = min(at_once, num_samples - first)
                # Stateless, and another stream for every call.
                key = np.random.SeedSequence((seed, subject, first)).generate_state(2) >> 1
                images = self._draw(tf.tile(poses, [number, 1])[None], encoded, tf.constant(key, tf.int32))
                parts.append(self._decoded(images)[0].reshape(number, len(poses), *images.shape[2:4]))
            drawn.append(np.concatenate(parts))
        return np.stack(drawn, axis=1)

    def log_prob(self, images: np.ndarray, slices: ArrayLike) -> np.ndarray:
        """Returns a lower bound of the joint log-density of slices, in nats, on the continuous intensities given.

        Args:
            images: `[S, n, H, W]` in [0, 1].
            slices: `[n]`, their slice numbers.

        Returns:
            `[S]`. Each slice is predicted from those before it, so the bound depends on their order.
        """
        poses, seed = self._one_hot(slices), tf.constant([0, 1])
        std = tf.constant(self._pixel_std, tf.float32)
        return np.array([self._joint_elbo(tf.constant(x[..., None], tf.float32), poses, std, seed) for x in images])

    def _represented(self, contexts: np.ndarray, slices: ArrayLike) -> tf.Tensor:
        return self._represent(self._encoded(contexts)[None], self._one_hot(slices)[None])
