"""The network inside a convolutional coupling."""

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.convolution import convolve
from tfp_bruno.networks.film import FeatureModulation

__all__ = ['ConvolutionalConditioner']


class ConvolutionalConditioner(tf_keras.layers.Layer):
    """A residual network from half an image and a condition to the shift and log-scale of the other half.

    Its input is the half image joined by a few feature maps that the condition alone draws (a learned spatial map per
    pose); the hidden features are modulated by the condition in every block. The last layer starts at zero, so a
    coupling starts as the identity.
    """

    def __init__(self, filters, num_blocks, condition_size, map_channels=4, **kwargs):
        """Constructs the network.

        Args:
            filters: `int`, number of filters of the 3 x 3 convolutions.
            num_blocks: `int`, number of residual blocks of two convolutions.
            condition_size: `int`, size of the condition vector.
            map_channels: `int`, number of feature maps drawn from the condition. Default value: `4`.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.filters = filters
        self.num_blocks = num_blocks
        self.condition_size = condition_size
        self.map_channels = map_channels
        self.modulations = [FeatureModulation(condition_size, dtype=self.dtype_policy) for _ in range(1 + num_blocks)]

    def build(self, input_shape):
        """Creates the weights for half images of shape `[N, H, W, C]`."""
        _, height, width, channels = input_shape
        self.map_kernel = self.add_weight(
            'map_kernel',
            [self.condition_size, height * width * self.map_channels],
            initializer=tf_keras.initializers.RandomNormal(stddev=0.1),
        )
        sizes = [(channels + self.map_channels, self.filters)] + [(self.filters, self.filters)] * 2 * self.num_blocks
        self.kernels, self.biases = [], []
        for index, (inputs, outputs) in enumerate([*sizes, (self.filters, 2 * channels)]):
            initializer = 'he_normal' if index < len(sizes) else 'zeros'
            self.kernels.append(self.add_weight(f'kernel_{index}', [3, 3, inputs, outputs], initializer=initializer))
            self.biases.append(self.add_weight(f'bias_{index}', [outputs], initializer='zeros'))
        for modulation in self.modulations:
            modulation.build([None, height, width, self.filters])
        super().build(input_shape)

    def _convolve(self, value, index):
        return tf.nn.bias_add(convolve(value, self.kernels[index]), self.biases[index])

    def call(self, x, conditional_input):
        """Maps a half image `[N, H, W, C]` and conditions `[N, condition_size]` to `(shift, log_scale)` alike."""
        _, height, width, _ = x.shape
        # Keras casts the first argument alone.
        conditional_input = tf.cast(conditional_input, self.compute_dtype)
        maps = tf.reshape(conditional_input @ self.map_kernel, [-1, height, width, self.map_channels])
        hidden = self._convolve(tf.concat([x, maps], -1), 0)
        hidden = self.modulations[0](hidden, conditional_input)
        for block in range(self.num_blocks):
            inner = self._convolve(tf.nn.elu(hidden), 2 * block + 1)
            inner = tf.nn.elu(self.modulations[block + 1](inner, conditional_input))
            hidden += self._convolve(inner, 2 * block + 2)
        shift, log_scale = tf.split(self._convolve(tf.nn.elu(hidden), len(self.kernels) - 1), 2, axis=-1)
        return shift, log_scale
