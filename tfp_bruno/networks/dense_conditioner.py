"""The network inside a dense coupling, which sees the whole slice at once."""

import math

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.film import FeatureModulation

__all__ = ['DenseConditioner']


class DenseConditioner(tf_keras.layers.Layer):
    """A network with one modulated hidden layer from half an event to shift and log-scale of the other half.

    The half event may have any shape; it is flattened. The last layer starts at zero, so a coupling starts as the
    identity.
    """

    def __init__(self, units, condition_size, **kwargs):
        """Constructs the network.

        Args:
            units: `int`, number of hidden units.
            condition_size: `int`, size of the condition vector.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units
        self.condition_size = condition_size
        self.modulation = FeatureModulation(condition_size, dtype=self.dtype_policy)

    def build(self, input_shape):
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

    def call(self, x, conditional_input):
        """Maps a half event `[N, ...]` and conditions `[N, condition_size]` to `(shift, log_scale)` alike."""
        # Keras casts the first argument alone.
        conditional_input = tf.cast(conditional_input, self.compute_dtype)
        flat = tf.reshape(x, [-1, self.kernel_in.shape[0]])
        hidden = self.modulation(flat @ self.kernel_in + self.bias_in, conditional_input)
        out = tf.nn.elu(hidden) @ self.kernel_out + conditional_input @ self.kernel_condition
        shift, log_scale = (tf.reshape(part, [-1, *x.shape[1:]]) for part in tf.split(out, 2, axis=-1))
        return shift, log_scale
