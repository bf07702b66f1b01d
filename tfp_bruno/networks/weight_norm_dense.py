"""The dense network of the official code of Conditional BRUNO."""

import math

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.weight_norm import add_plain_weight, choose, fit_gain_and_bias, unit_directions

__all__ = ['WeightNormDenseConditioner']


class WeightNormDenseConditioner(tf_keras.layers.Layer):
    """Two hidden layers with weight normalisation; an embedding of the condition is appended to every layer's input.

    The embedding has half as many features as the input it is appended to. The event may have any shape; it is
    flattened. The last layer starts at zero, so a coupling starts as the identity.

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(self, units, condition_size, **kwargs):
        """Constructs the network.

        Args:
            units: `int`, number of hidden units, even.
            condition_size: `int`, size of the condition vector.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units
        self.condition_size = condition_size

    def build(self, input_shape):
        """Creates the weights for events of shape `[N] + event`."""
        size = math.prod(input_shape[1:])
        self.poses, self.hiddens = [], []
        for index, inputs in enumerate((size, self.units)):
            self.poses.append(self._weights(f'pose_{index}', self.condition_size, inputs // 2, 'random_normal'))
            self.hiddens.append(self._weights(f'hidden_{index}', inputs + inputs // 2, self.units, 'random_normal'))
        # Of log-scale and shift, one behind the other.
        embedded = self.units // 2
        self.last_pose = add_plain_weight(self, 'last_pose', [self.condition_size, 2 * embedded], 'orthogonal')
        self.last_pose_bias = add_plain_weight(self, 'last_pose_bias', [2 * embedded], 'zeros')
        self.last = add_plain_weight(self, 'last', [2, self.units + embedded, size], 'zeros')
        self.last_bias = add_plain_weight(self, 'last_bias', [2, 1, size], 'zeros')
        self.is_initialized = add_plain_weight(self, 'is_initialized', [], 'zeros', trainable=False, dtype=tf.bool)
        super().build(input_shape)

    def _weights(self, name, inputs, outputs, initializer):
        """Returns direction, gain and bias of a layer."""
        return (
            add_plain_weight(self, f'{name}/direction', [inputs, outputs], initializer),
            add_plain_weight(self, f'{name}/gain', [outputs], 'ones'),
            add_plain_weight(self, f'{name}/bias', [outputs], 'zeros'),
        )

    def call(self, x, conditional_input):
        """Maps events `[N, ...]` and conditions `[N, condition_size]` to `(shift, log_scale)` alike."""

        def layer(value, weights):
            direction, gain, bias = weights
            return self._multiply(value, unit_directions(direction, [0])) * self._cast(gain) + self._cast(bias)

        return self._run(x, conditional_input, layer)

    def initialize(self, x, conditional_input, overwrite=False):
        """Starts gains and biases from a batch; see `WeightNormConvolutionalConditioner.initialize`."""
        if not self.built:
            self.build(x.shape)
        keep = tf.logical_and(self.is_initialized, not overwrite)

        def layer(value, weights):
            direction, gain, bias = weights
            out = self._multiply(value, unit_directions(direction, [0]))
            for variable, fitted in zip((gain, bias), fit_gain_and_bias(out), strict=True):
                variable.assign(choose(keep, variable, fitted))
            return out * self._cast(gain) + self._cast(bias)

        outputs = self._run(x, conditional_input, layer)
        self.is_initialized.assign(True)
        return outputs

    def _run(self, x, conditional_input, layer):
        condition = self._cast(conditional_input)
        hidden = self._cast(tf.reshape(x, [-1, math.prod(x.shape[1:])]))
        for pose, weights in zip(self.poses, self.hiddens, strict=True):
            embedded = tf.nn.leaky_relu(layer(condition, pose))
            hidden = tf.nn.elu(layer(tf.concat([embedded, hidden], -1), weights))
        embedded = tf.nn.leaky_relu(self._multiply(condition, self.last_pose) + self._cast(self.last_pose_bias))
        inputs = [tf.concat([part, hidden], -1) for part in tf.split(embedded, 2, axis=-1)]
        out = tf.matmul(tf.stack(inputs), self._cast(self.last)) + self._cast(self.last_bias)
        log_scale, shift = (tf.reshape(part, [-1, *x.shape[1:]]) for part in tf.unstack(out))
        return shift, log_scale

    def _multiply(self, value, matrix):
        return value @ self._cast(matrix)

    def _cast(self, value):
        return tf.cast(value, self.compute_dtype)
