"""Our flow in the shape of another library's Glow: the same steps and the same coupling networks, no condition."""

import tensorflow as tf
import tf_keras

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings
from tfp_bruno.networks.layers import convolve

__all__ = ['GlowConditioner', 'make_glow']


class GlowConditioner(tf_keras.layers.Layer):
    """Convolutions of 3 x 3, 1 x 1 and 3 x 3 with rectifiers between; the last starts at zero."""

    def __init__(self, channels, hidden_channels, **kwargs):
        """Creates the weights.

        Args:
            channels: `int`, channels of the input.
            hidden_channels: `int`.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        sizes = (
            (3, channels, hidden_channels),
            (1, hidden_channels, hidden_channels),
            (3, hidden_channels, 2 * channels),
        )
        starts = ('he_normal', 'he_normal', 'zeros')
        self.kernels = [
            self.add_weight(f'kernel_{index}', [side, side, inputs, outputs], initializer=start)
            for index, ((side, inputs, outputs), start) in enumerate(zip(sizes, starts, strict=True))
        ]
        self.biases = [
            self.add_weight(f'bias_{index}', [outputs], initializer='zeros')
            for index, (_, _, outputs) in enumerate(sizes)
        ]

    def call(self, x, conditional_input):
        """Maps half events `[N, H, W, C]` to `(shift, log_scale)` alike, whatever the condition."""
        del conditional_input
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = tf.nn.bias_add(convolve(tf.nn.relu(x) if index else x, kernel), bias)
        shift, log_scale = tf.split(x, 2, axis=-1)
        return shift, log_scale


def make_glow(image_size, levels, blocks, hidden_channels):
    """Returns a flow of `levels` times a squeeze and `blocks` of ActNorm, 1 x 1 convolution and affine coupling."""
    settings = GlowSettings(
        first_squeeze=2,
        couplings=(blocks,) * levels,
        filters=(hidden_channels,) * levels,
        dense_couplings=0,
        pose_affine=False,
    )
    return ConditionalRealNVP(
        (image_size, image_size, 1),
        1,
        settings,
        make_conditioner=lambda shape, _: GlowConditioner(shape[-1], hidden_channels),
    )
