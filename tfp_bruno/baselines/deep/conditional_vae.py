"""The conditional variational autoencoder of Hou et al."""

import itertools

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_bruno.baselines.deep.context_model import ContextModel, diagonal_normal
from tfp_bruno.baselines.deep.layers import Convolution, Dense, PatchConvolution, PatchDeconvolution, SpatialMap

__all__ = ['ConditionalVAE']

_STRIDE = 8


class ConditionalVAE(ContextModel):
    """A U-Net without skip connections, of four resolutions with two convolutions each, about a latent vector.

    The way down encodes the query image. At its end, an eighth of the image's grid, pose and representation of the
    contexts join, and make mean and scale of the posterior; its prior is a unit normal. The way up decodes the latent
    vector, joined by pose and representation again. The contexts are encoded by the tower of a Generative Query
    Network, and averaged.

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

    def __init__(self, settings, name='ConditionalVAE'):
        """Creates the weights.

        Args:
            settings: `ConditionalVAESettings`.
            name: Python `str`. Default value: `'ConditionalVAE'`.
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
        self.encoders = [_two(*pair) for pair in zip(inputs, filters, strict=True)]
        self.to_posterior = Dense(grid[0] * grid[1] * (filters[-1] + joined), 2 * settings.latent_size)
        self.from_latent = SpatialMap(settings.latent_size, grid, filters[-1])
        self.ups = [PatchDeconvolution(size, smaller, 2) for smaller, size in itertools.pairwise(filters)]
        self.decoders = [_two(size, size) for size in filters[:-1]] + [_two(filters[-1] + joined, filters[-1])]
        self.observe = Dense(filters[0], channels)

    def _infer(self, deviations, codes, representation, repeats, seed):
        condition = self._joined(codes, representation, repeats)
        hidden = deviations
        for level, convolutions in enumerate(self.encoders):
            hidden = _apply(convolutions, self.downs[level - 1](hidden) if level else hidden)
        hidden = tf.concat([hidden, condition], -1)
        posterior = diagonal_normal(self.to_posterior(tf.reshape(hidden, [-1, self.to_posterior.kernel.shape[0]])))
        kl = tfd.kl_divergence(posterior, self._prior(codes))
        return self._decoded(posterior.sample(seed=seed), condition), kl[:, None]

    def _generate(self, codes, representation, repeats, seed):
        prior = self._prior(codes)
        latent = prior.mean() if seed is None else prior.sample(seed=seed)
        return self._decoded(latent, self._joined(codes, representation, repeats))

    def _prior(self, codes):
        zeros = tf.zeros([tf.shape(codes)[0], self.settings.latent_size])
        return tfd.Independent(tfd.Normal(zeros, tf.ones_like(zeros)), 1)

    def _joined(self, codes, representation, repeats):
        """Returns pose and representation side by side, `[N, h, w, ...]`."""
        return tf.concat([self.pose_map(codes), tf.repeat(self.shrink(representation), repeats, axis=0)], -1)

    def _decoded(self, latent, condition):
        hidden = tf.concat([self.from_latent(latent), condition], -1)
        for level in reversed(range(len(self.decoders))):
            hidden = _apply(self.decoders[level], hidden)
            if level:
                hidden = self.ups[level - 1](hidden)
        return self.observe(hidden)


def _two(inputs, outputs):
    return [Convolution(*sizes, 3, initializer='he_uniform') for sizes in ((inputs, outputs), (outputs, outputs))]


def _apply(convolutions, hidden):
    for convolution in convolutions:
        hidden = tf.nn.elu(convolution(hidden))
    return hidden
