"""The conditional variational autoencoder of Hou et al."""

import itertools
from collections.abc import Sequence

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_bruno.baselines.deep.context_model import ContextModel, diagonal_normal
from tfp_bruno.baselines.deep.layers import Convolution, Dense, PatchConvolution, PatchDeconvolution, SpatialMap
from tfp_bruno.baselines.deep.settings import ConditionalVAESettings

_STRIDE = 8


class ConditionalVAE(ContextModel):
    """A U-Net without skip connections, with four resolutions of two convolutions each and a latent vector.

    The encoder takes the query image to an eighth of its grid. There its features, the pose and the representation of
    the contexts give mean and scale of the posterior; the prior is a unit normal. The decoder takes the latent vector,
    again with pose and representation. The contexts are encoded by the tower of a Generative Query Network, and
    averaged.

    #### Examples

    ```python
    settings = ConditionalVAESettings((64, 64, 1), num_slices=80)
    model = tfp_bruno.baselines.ConditionalVAE(settings)
    representation = model.represent(context_images, context_poses)     # [1, n, 64, 64, 1], [1, n, 80]
    model.sample(query_poses, representation, seed=(1, 2))              # [1, T, 64, 64, 1] for [1, T, 80]
    ```

    #### References

    [1]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    3.1. 2019.
    """

    settings: ConditionalVAESettings

    def __init__(self, settings: ConditionalVAESettings, name: str = 'ConditionalVAE') -> None:
        """Creates the weights.

        Args:
            settings: Sizes of the networks.
            name: Name of the module.
        """
        super().__init__(settings, name=name)
        height, width, channels = settings.image_shape
        grid, filters = (height // _STRIDE, width // _STRIDE), settings.filters
        self.pose_map = SpatialMap(self.code_size, grid, settings.pose_channels)
        # The tower's grid is a quarter of the image's.
        self.shrink = PatchConvolution(settings.representation_channels, filters[-1], 2)
        joined = settings.pose_channels + filters[-1]
        inputs = [channels, *filters[:-1]]
        self.downs = [PatchConvolution(size, size, 2) for size in filters[:-1]]
        self.encoders = [_two_convolutions(*pair) for pair in zip(inputs, filters, strict=True)]
        self.to_posterior = Dense(grid[0] * grid[1] * (filters[-1] + joined), 2 * settings.latent_size)
        self.from_latent = SpatialMap(settings.latent_size, grid, filters[-1])
        self.ups = [PatchDeconvolution(size, smaller, 2) for smaller, size in itertools.pairwise(filters)]
        self.decoders = [
            *[_two_convolutions(size, size) for size in filters[:-1]],
            _two_convolutions(filters[-1] + joined, filters[-1]),
        ]
        self.observe = Dense(filters[0], channels)

    def _infer(
        self,
        deviations: tf.Tensor,
        codes: tf.Tensor,
        representation: tf.Tensor,
        repeats: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        condition = self._joined(codes, representation, repeats)
        hidden = deviations
        for level, convolutions in enumerate(self.encoders):
            hidden = _apply(convolutions, self.downs[level - 1](hidden) if level else hidden)
        hidden = tf.concat([hidden, condition], -1)
        posterior = diagonal_normal(self.to_posterior(tf.reshape(hidden, [-1, self.to_posterior.kernel.shape[0]])))
        kl = tfd.kl_divergence(posterior, self._prior(codes))
        return self._decoded(posterior.sample(seed=seed), condition), kl[:, None]

    def _generate(
        self, codes: tf.Tensor, representation: tf.Tensor, repeats: tf.Tensor, seed: tf.Tensor | None
    ) -> tf.Tensor:
        prior = self._prior(codes)
        latent = prior.mean() if seed is None else prior.sample(seed=seed)
        return self._decoded(latent, self._joined(codes, representation, repeats))

    def _prior(self, codes: tf.Tensor) -> tfd.Distribution:
        zeros = tf.zeros([tf.shape(codes)[0], self.settings.latent_size])
        return tfd.Independent(tfd.Normal(zeros, tf.ones_like(zeros)), 1)

    def _joined(self, codes: tf.Tensor, representation: tf.Tensor, repeats: tf.Tensor) -> tf.Tensor:
        """Returns pose and representation in one grid, `[N, h, w, ...]`."""
        return tf.concat([self.pose_map(codes), tf.repeat(self.shrink(representation), repeats, axis=0)], -1)

    def _decoded(self, latent: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
        hidden = tf.concat([self.from_latent(latent), condition], -1)
        for level in reversed(range(len(self.decoders))):
            hidden = _apply(self.decoders[level], hidden)
            if level:
                hidden = self.ups[level - 1](hidden)
        return self.observe(hidden)


def _two_convolutions(inputs: int, outputs: int) -> list[Convolution]:
    return [Convolution(size, outputs, 3, initializer='he_uniform') for size in (inputs, outputs)]


def _apply(convolutions: Sequence[Convolution], hidden: tf.Tensor) -> tf.Tensor:
    for convolution in convolutions:
        hidden = tf.nn.elu(convolution(hidden))
    return hidden
