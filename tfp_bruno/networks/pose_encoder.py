"""From a pose to the features that every coupling is conditioned on."""

import tensorflow as tf
import tf_keras

__all__ = ['PoseEncoder']


class PoseEncoder(tf_keras.layers.Layer):
    """Two dense layers from a pose vector (one-hot slice number, Fourier features, rigid pose) to `units` features."""

    def __init__(self, units, **kwargs):
        """Constructs the layer.

        Args:
            units: `int`, number of features.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        """Creates the weights for poses of shape `[N, P]`."""
        self.kernel_in = self.add_weight(
            'kernel_in', [input_shape[-1], self.units], initializer=tf_keras.initializers.RandomNormal(stddev=1.0)
        )
        self.kernel_out = self.add_weight('kernel_out', [self.units, self.units], initializer='glorot_normal')
        self.bias = self.add_weight('bias', [self.units], initializer='zeros')
        super().build(input_shape)

    def call(self, pose):
        """Maps poses `[N, P]` to features `[N, units]`."""
        return tf.nn.elu(tf.nn.elu(pose @ self.kernel_in) @ self.kernel_out + self.bias)
