"""The base class of the deep baselines: a density of one slice, given its pose and encoded context slices."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import TensorLike
from tensorflow_probability import distributions as tfd

from tfp_bruno.baselines.deep.representation import REPRESENTATIONS
from tfp_bruno.baselines.deep.settings import ConditionalVAESettings, GenerativeQueryNetworkSettings
from tfp_bruno.networks.pose_encoders import fourier_features

_NUM_FREQUENCIES = 6
_SMALLEST_SCALE = 1e-3
# Of a pixel, in units of the spread of the whole volume.
_LEAST_SPREAD = 0.1


class Bound(NamedTuple):
    """The two parts of an evidence lower bound.

    Attributes:
        mean: Mean of the pixels given the drawn latent variables, `[G, T, H, W, C]`.
        kl: Kullback-Leibler divergence of the posterior from the prior in each step, `[G, T, L]`, in nats.
    """

    mean: tf.Tensor
    kl: tf.Tensor


class ContextModel(tf.Module):
    """A latent variable model of a query slice, given its pose and any number of context slices with theirs.

    #### Mathematical Details

    ```none
    r = sum_i (or mean_i) f(x_i, v_i)
    log p(x | v, r) >= E_q [ log N(x; mean(z, v, r), sigma^2) ] - KL(q(z | x, v, r) || p(z | v, r))
    ```

    where:
      * `x_i, v_i` are the contexts' images and poses, in any order, `f` is the representation network;
      * `x, v` are image and pose of the query;
      * `z` are the latent variables; the subclass defines `q`, `p` and `mean`;
      * `sigma`, the pixels' standard deviation, is not a part of the model but an argument.

    Queries are independent of each other given the contexts. Subclasses implement `_infer` and `_generate`.
    """

    settings: ConditionalVAESettings | GenerativeQueryNetworkSettings

    def __init__(
        self, settings: ConditionalVAESettings | GenerativeQueryNetworkSettings, name: str | None = None
    ) -> None:
        """Creates the weights of the representation network.

        Args:
            settings: Sizes of the networks.
            name: Name of the module.
        """
        super().__init__(name=name)
        self.settings = settings
        self.code_size = self._encoded_pose(tf.zeros([1, settings.num_slices])).shape[-1]
        network = REPRESENTATIONS[settings.representation]
        self.representation = network(settings.image_shape, self.code_size, settings.representation_channels)
        if settings.centred:
            size = math.prod(settings.image_shape)
            self.mean_images = tf.Variable(tf.zeros([settings.num_slices, size]), trainable=False, name='mean_images')
            self.spread_images = tf.Variable(
                tf.ones([settings.num_slices, size]), trainable=False, name='spread_images'
            )
            self.spread = tf.Variable(1.0, trainable=False, name='spread')

    def initialize(self, images: np.ndarray, poses: np.ndarray) -> None:
        """Sets mean and standard deviation of every pixel at every pose if `settings.centred`, else does nothing.

        The networks' output is scaled by these deviations, so they need not learn which pixels are always empty.

        Args:
            images: Shape `[S, K, H, W, C]`, float32, in [0, 1].
            poses: Shape `[K, P]`, float32, of rank P.
        """
        if not self.settings.centred:
            return
        mean = images.mean(0, dtype=np.float64).astype(np.float32)
        variance = sum(np.square(subject - mean) for subject in images) / np.float32(len(images))
        spread = np.sqrt(variance.mean())
        for variable, value in (
            (self.mean_images, mean),
            (self.spread_images, np.maximum(np.sqrt(variance), _LEAST_SPREAD * spread)),
        ):
            fitted = np.linalg.lstsq(poses, value.reshape(len(poses), -1), rcond=None)[0]
            variable.assign(fitted.astype(np.float32))
        self.spread.assign(spread)

    def represent(
        self, context_images: TensorLike, context_poses: TensorLike, mask: TensorLike | None = None
    ) -> tf.Tensor:
        """Encodes contexts.

        Args:
            context_images: Shape `[G, n, H, W, C]`, in [0, 1], n >= 0.
            context_poses: Shape `[G, n, P]`.
            mask: Shape `[G, n]`, true for the contexts to use; `None` for all of them.

        Returns:
            Shape `[G, h, w, c]`, an argument of `elbo` and the other methods. It does not depend on the order of the
            contexts.

        Raises:
            ValueError: If the shapes do not fit the model or each other, as in the other methods.
        """
        images, poses = self._checked(context_images, context_poses)
        weights = tf.ones(tf.shape(images)[:2]) if mask is None else tf.cast(mask, tf.float32)
        if not images.shape[1]:
            # oneDNN fails on empty batches, so if there may be no context, one of weight 0 is added.
            images, poses, weights = (
                tf.pad(value, [[0, 0], [0, 1]] + [[0, 0]] * (value.shape.rank - 2))
                for value in (images, poses, weights)
            )
        features = self._features(images, poses)
        return tf.reshape(tf.einsum('gn,gnf->gf', self._shares(weights), features), [-1, *self.representation.shape])

    def bound(self, images: TensorLike, poses: TensorLike, representation: tf.Tensor, seed: TensorLike) -> Bound:
        """Evaluates posterior and decoder once for every query.

        Args:
            images: Shape `[G, T, H, W, C]`, in [0, 1], T queries for each of G sets of contexts.
            poses: Shape `[G, T, P]`.
            representation: Shape `[G, h, w, c]`, from `represent`.
            seed: Shape `[2]`, int32.

        Returns:
            The two parts of the bound, differentiable by reparametrisation.
        """
        images, poses = self._checked(images, poses)
        leading = tf.shape(poses)[:2]
        output, kl = self._infer(self._deviations(images, poses), *self._condition(poses, representation), seed)
        return Bound(self._images(output, poses), tf.reshape(kl, tf.concat([leading, kl.shape[1:]], 0)))

    def elbo(
        self,
        images: TensorLike,
        poses: TensorLike,
        representation: tf.Tensor,
        pixel_std: float | tf.Tensor,
        seed: TensorLike,
    ) -> tf.Tensor:
        """Returns an unbiased estimate of a lower bound of `log p(image | pose, contexts)`, `[G, T]`, in nats.

        The arguments are those of `bound`, and `pixel_std`, the pixels' standard deviation.
        """
        bound = self.bound(images, poses, representation, seed)
        pixels = tfd.Independent(tfd.Normal(bound.mean, pixel_std), 3)
        return pixels.log_prob(images) - tf.reduce_sum(bound.kl, -1)

    def joint_elbo(
        self, images: TensorLike, poses: TensorLike, pixel_std: float | tf.Tensor, seed: TensorLike
    ) -> tf.Tensor:
        """Returns a lower bound of the joint log-density of all slices of a subject, in nats.

        ```none
        log p(x_1..x_n | v_1..v_n) = sum_i log p(x_i | v_i, (x_1, v_1)..(x_{i-1}, v_{i-1}))
        ```

        Unlike the density of an exchangeable model, it depends on the order of the slices.

        Args:
            images: Shape `[n, H, W, C]`, in [0, 1].
            poses: Shape `[n, P]`.
            pixel_std: The pixels' standard deviation.
            seed: Shape `[2]`, int32.

        Returns:
            A scalar.
        """
        images, poses = self._checked(images, poses)
        number = tf.shape(images)[0]
        earlier = tf.linalg.band_part(tf.ones([number, number]), -1, 0) - tf.eye(number)
        features = self._features(images[None], poses[None])[0]
        representation = tf.reshape(self._shares(earlier) @ features, [-1, *self.representation.shape])
        return tf.reduce_sum(self.elbo(images[:, None], poses[:, None], representation, pixel_std, seed))

    def mean_image(self, poses: TensorLike, representation: tf.Tensor) -> tf.Tensor:
        """Returns the decoded mean of the latent variables, `[G, T, H, W, C]`: one typical image per pose.

        Args:
            poses: Shape `[G, T, P]`.
            representation: Shape `[G, h, w, c]`, from `represent`.
        """
        return self._decode(poses, representation, None)

    def sample(self, poses: TensorLike, representation: tf.Tensor, seed: TensorLike) -> tf.Tensor:
        """Draws latent variables and returns the mean of the pixels, `[G, T, H, W, C]`, without the pixels' noise."""
        return self._decode(poses, representation, seed)

    def _infer(
        self,
        deviations: tf.Tensor,
        codes: tf.Tensor,
        representation: tf.Tensor,
        repeats: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the decoder's output `[N, H, W, C]` and the KL of each step `[N, L]`; `N = repeats G`."""
        raise NotImplementedError

    def _generate(
        self, codes: tf.Tensor, representation: tf.Tensor, repeats: tf.Tensor, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns the decoder's output `[N, H, W, C]`; without a seed, at the latent variables' means."""
        raise NotImplementedError

    def _decode(self, poses: TensorLike, representation: tf.Tensor, seed: TensorLike | None) -> tf.Tensor:
        poses = self._checked_poses(poses)
        output = self._generate(*self._condition(poses, representation), seed)
        return self._images(output, poses)

    def _checked(self, images: TensorLike, poses: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns images and poses as tensors; a `ValueError` if they do not fit the model or each other."""
        images, poses = tf.convert_to_tensor(images, tf.float32), self._checked_poses(poses)
        if not images.shape[-3:].is_compatible_with(self.settings.image_shape):
            raise ValueError(
                f'`images` must have shape [..., {str(self.settings.image_shape)[1:-1]}], got {images.shape}.'
            )
        if not images.shape[:-3].is_compatible_with(poses.shape[:-1]):
            raise ValueError(
                f'`poses` must hold a pose for every image, got shape {poses.shape} for images of {images.shape}.'
            )
        return images, poses

    def _checked_poses(self, poses: TensorLike) -> tf.Tensor:
        poses = tf.convert_to_tensor(poses, tf.float32)
        if not poses.shape[-1:].is_compatible_with([self.settings.num_slices]):
            raise ValueError(f'`poses` must have shape [..., {self.settings.num_slices}], got {poses.shape}.')
        return poses

    def _condition(self, poses: tf.Tensor, representation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns encoded poses, representation and the number of queries per set of contexts."""
        return self._encoded_pose(self._flat(poses, 1)), representation, tf.shape(poses)[1]

    def _features(self, images: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Returns the encoded contexts, flat: `[G, n, h w c]`."""
        leading = tf.shape(poses)[:2]
        codes = self._encoded_pose(self._flat(poses, 1))
        features = self.representation(self._deviations(images, poses), codes)
        return tf.reshape(features, tf.concat([leading, [math.prod(self.representation.shape)]], 0))

    def _shares(self, weights: tf.Tensor) -> tf.Tensor:
        """Returns the coefficient of each context, `[..., n]`, in the representation."""
        if self.settings.aggregation == 'sum':
            return weights
        return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, -1, keepdims=True))

    def _encoded_pose(self, poses: tf.Tensor) -> tf.Tensor:
        if self.settings.pose_encoding == 'plain':
            return poses
        positions = tf.linspace(0.0, 1.0, self.settings.num_slices)[:, None]
        return fourier_features(poses @ positions, _NUM_FREQUENCIES)

    def _deviations(self, images: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Returns the networks' input, flat: `[N, H, W, C]`."""
        flat = self._flat(images)
        return (flat - self._at(self.mean_images, poses)) / self.spread if self.settings.centred else flat

    def _images(self, output: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Returns images `[G, T, H, W, C]` from the networks' flat output."""
        if self.settings.centred:
            output = self._at(self.mean_images, poses) + self._at(self.spread_images, poses) * output
        return tf.reshape(output, tf.concat([tf.shape(poses)[:2], self.settings.image_shape], 0))

    def _at(self, table: tf.Variable, poses: tf.Tensor) -> tf.Tensor:
        """Returns the images `[N, H, W, C]` of a table at poses."""
        return tf.reshape(self._flat(poses, 1) @ table, [-1, *self.settings.image_shape])

    @staticmethod
    def _flat(value: tf.Tensor, event_ndims: int = 3) -> tf.Tensor:
        """Joins the two leading axes."""
        shape = value.shape[-event_ndims:]
        return tf.reshape(value, [-1, *shape])


def diagonal_normal(parameters: tf.Tensor) -> tfd.Distribution:
    """Returns independent normals whose mean and scale are the two halves of the channels of `[N, ..., 2 C]`.

    The scale starts near 1 and stays above 0.001.
    """
    mean, raw = tf.split(parameters, 2, axis=-1)
    scale = tf.nn.softplus(raw + math.log(math.e - 1.0)) + _SMALLEST_SCALE
    return tfd.Independent(tfd.Normal(mean, scale), parameters.shape.rank - 1)
