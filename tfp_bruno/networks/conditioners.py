"""The default networks inside the couplings of Glow: a convolutional and a dense one, with FiLM."""

import math
from typing import Any

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.layers import FeatureModulation, convolve


class ConvolutionalConditioner(tf_keras.layers.Layer):
    """A residual network from half an image and a condition to the shift and log-scale of the other half.

    Its input is the half image, joined by a few feature maps that are linear in the condition (a learned spatial map
    of each pose); the condition modulates the hidden features in every block. The last layer starts at zero, so a
    coupling starts as the identity.
    """

    def __init__(
        self, filters: int, num_blocks: int, condition_size: int, map_channels: int = 4, **kwargs: Any
    ) -> None:
        """Constructs the network.

        Args:
            filters: Number of filters of the 3 x 3 convolutions.
            num_blocks: Number of residual blocks of two convolutions.
            condition_size: Size of the condition vector.
            map_channels: Number of feature maps computed from the condition.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.filters = filters
        self.num_blocks = num_blocks
        self.condition_size = condition_size
        self.map_channels = map_channels
        self.modulations = [FeatureModulation(condition_size, dtype=self.dtype_policy) for _ in range(1 + num_blocks)]

    def build(self, input_shape: Any) -> None:
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

    def _convolve(self, value: tf.Tensor, index: int) -> tf.Tensor:
        return tf.nn.bias_add(convolve(value, self.kernels[index]), self.biases[index])

    def call(self, x: tf.Tensor, conditional_input: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps `x` `[N, H, W, C]` and conditions `[N, condition_size]` to `(shift, log_scale)` of the shape of x."""
        _, height, width, _ = x.shape
        # Keras casts only the first argument.
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


class DenseConditioner(tf_keras.layers.Layer):
    """A network with one modulated hidden layer, from half an event to the shift and log-scale of the other half.

    The half event may have any shape; it is flattened. The last layer starts at zero, so a coupling starts as the
    identity.
    """

    def __init__(self, units: int, condition_size: int, **kwargs: Any) -> None:
        """Constructs the network.

        Args:
            units: Number of hidden units.
            condition_size: Size of the condition vector.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units
        self.condition_size = condition_size
        self.modulation = FeatureModulation(condition_size, dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        """Creates the weights for half events of shape `[N] + event`."""
        size = math.prod(input_shape[1:])
        self.kernel_in = self.add_weight('kernel_in', [size, self.units], initializer='he_normal')
        self.bias_in = self.add_weight('bias_in', [self.units], initializer='zeros')
        self.kernel_out = self.add_weight('kernel_out', [self.units, 2 * size], initializer='zeros')
        self.kernel_condition = self.add_weight(
            'kernel_condition', [self.condition_size, 2 * size], initializer='zeros'
        )
        self.modulation.build([None, self.units])
        super().build(input_shape)

    def call(self, x: tf.Tensor, conditional_input: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps `x` `[N, ...]` and conditions `[N, condition_size]` to `(shift, log_scale)` of the shape of x."""
        # Keras casts only the first argument.
        conditional_input = tf.cast(conditional_input, self.compute_dtype)
        flat = tf.reshape(x, [-1, self.kernel_in.shape[0]])
        hidden = self.modulation(flat @ self.kernel_in + self.bias_in, conditional_input)
        out = tf.nn.elu(hidden) @ self.kernel_out + conditional_input @ self.kernel_condition
        shift, log_scale = (tf.reshape(part, [-1, *x.shape[1:]]) for part in tf.split(out, 2, axis=-1))
        return shift, log_scale
