"""The convolutional network of the official code of Conditional BRUNO."""

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.convolution import convolve
from tfp_bruno.networks.weight_norm import add_plain_weight, choose, fit_gain_and_bias, unit_directions

__all__ = ['WeightNormConvolutionalConditioner']


class WeightNormConvolutionalConditioner(tf_keras.layers.Layer):
    """A residual network with weight normalisation; the condition is added to every convolution's output.

    A 3 x 3 convolution, blocks of two of them with a skip connection and ELU, and a 1 x 1 convolution to shift and
    log-scale. (The official code asks for a first one of 1 x 1, and drops that size where there is a condition.) Every
    convolution's output, before its nonlinearity, receives a linear function of the condition. The last layer starts at
    zero, so a coupling starts as the identity; in the official code its projection of the condition does not.

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(self, filters, num_blocks, condition_size, recompute=False, **kwargs):
        """Constructs the network.

        Args:
            filters: `int`, number of filters of all hidden convolutions.
            num_blocks: `int`, number of residual blocks.
            condition_size: `int`, size of the condition vector.
            recompute: Python `bool`: whether a gradient evaluates the hidden features once more instead of keeping
                them, which takes less memory and more time; there are no second derivatives then. Default value:
                `False`.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`; with `dtype='mixed_bfloat16'` weights are float32
                and the convolutions bfloat16.
        """
        super().__init__(**kwargs)
        self.filters = filters
        self.num_blocks = num_blocks
        self.condition_size = condition_size
        self.recompute = recompute

    def build(self, input_shape):
        """Creates the weights for events of shape `[N, H, W, C]`."""
        channels, filters, layers = input_shape[-1], self.filters, 1 + 2 * self.num_blocks
        # Few, large variables: every one costs time in tracing and in the optimiser.
        self.first = add_plain_weight(self, 'first', [3, 3, channels, filters], 'random_normal')
        self.trunk = add_plain_weight(self, 'trunk', [layers - 1, 3, 3, filters, filters], 'random_normal')
        self.gain = add_plain_weight(self, 'gain', [layers, filters], 'ones')
        self.bias = add_plain_weight(self, 'bias', [layers, filters], 'zeros')
        self.pose = add_plain_weight(self, 'pose', [self.condition_size, layers * filters], 'random_normal')
        self.pose_gain = add_plain_weight(self, 'pose_gain', [layers * filters], 'ones')
        self.pose_shift = add_plain_weight(self, 'pose_shift', [layers * filters], 'zeros', trainable=False)
        self.last = add_plain_weight(self, 'last', [1, 1, filters, 2 * channels], 'zeros')
        self.last_bias = add_plain_weight(self, 'last_bias', [2 * channels], 'zeros')
        self.last_pose = add_plain_weight(self, 'last_pose', [self.condition_size, 2 * channels], 'zeros')
        self.is_initialized = add_plain_weight(self, 'is_initialized', [], 'zeros', trainable=False, dtype=tf.bool)
        super().build(input_shape)

    def call(self, x, conditional_input):
        """Maps events `[N, H, W, C]` and conditions `[N, condition_size]` to `(shift, log_scale)` alike."""
        weights = (self.first, self.trunk, self.gain, self.bias, self.pose, self.pose_gain, self.pose_shift)
        evaluate = _evaluate_trunk_again if self.recompute else _evaluate_trunk
        hidden = evaluate(self._cast(x), conditional_input, tuple(map(tf.convert_to_tensor, weights)))
        return self._outputs(hidden, conditional_input)

    def initialize(self, x, conditional_input, overwrite=False):
        """Starts gains and biases from a batch: every layer's output gets mean 0 and variance 1.

        Args:
            x: As in `call`.
            conditional_input: As in `call`.
            overwrite: Python `bool`: whether to do so again if it was done. Default value: `False`.

        Returns:
            What the network then gives for the batch, as `call`.
        """
        if not self.built:
            self.build(x.shape)
        keep = tf.logical_and(self.is_initialized, not overwrite)
        features = _pose_features(conditional_input, self.pose)
        pose_gain, pose_shift = fit_gain_and_bias(features)
        pose_gain, pose_shift = choose(keep, self.pose_gain, pose_gain), choose(keep, self.pose_shift, pose_shift)
        offsets = tf.split(features * pose_gain + pose_shift, 1 + 2 * self.num_blocks, axis=-1)
        kernels, gains, biases = _unit_kernels(self.first, self.trunk), [], []

        def layer(index, hidden):
            out = convolve(hidden, self._cast(kernels[index]))
            gain, bias = fit_gain_and_bias(out)
            gains.append(choose(keep, self.gain[index], gain))
            biases.append(choose(keep, self.bias[index], bias))
            return out * self._cast(gains[-1]) + _per_image(biases[-1] + offsets[index], out)

        hidden = _trunk(self._cast(x), self.num_blocks, layer)
        self.pose_gain.assign(pose_gain)
        self.pose_shift.assign(pose_shift)
        self.gain.assign(tf.stack(gains))
        self.bias.assign(tf.stack(biases))
        self.is_initialized.assign(True)
        return self._outputs(hidden, conditional_input)

    def _outputs(self, hidden, conditional_input):
        out = convolve(hidden, self._cast(self.last))
        offset = tf.cast(conditional_input, self.last_pose.dtype) @ self.last_pose + self.last_bias
        shift, log_scale = tf.split(out + _per_image(offset, out), 2, axis=-1)
        return shift, log_scale

    def _cast(self, value):
        return tf.cast(value, self.compute_dtype)


# A function of the weights, so that all couplings of one size share a trace: tracing each takes seconds.
@tf.function(autograph=False)
def _evaluate_trunk(x, conditional_input, weights):
    """Returns the last hidden features `[N, H, W, F]`."""
    first, trunk, gain, bias, pose, pose_gain, pose_shift = weights
    layers = gain.shape[0]
    offsets = _pose_features(conditional_input, pose) * pose_gain + pose_shift + tf.reshape(bias, [-1])
    offsets = tf.split(offsets, layers, axis=-1)
    kernels = [tf.cast(kernel * gain[index], x.dtype) for index, kernel in enumerate(_unit_kernels(first, trunk))]

    def layer(index, hidden):
        return convolve(hidden, kernels[index]) + _per_image(offsets[index], hidden)

    return _trunk(x, (layers - 1) // 2, layer)


_evaluate_trunk_again = tf.recompute_grad(_evaluate_trunk)


def _trunk(x, num_blocks, layer):
    """Returns the features of a residual network whose i-th convolution is `layer(i, hidden)`."""
    hidden = tf.nn.elu(layer(0, x))
    for block in range(num_blocks):
        inner = tf.nn.elu(layer(2 * block + 1, hidden))
        hidden = tf.nn.elu(layer(2 * block + 2, inner) + hidden)
    return hidden


def _unit_kernels(first, trunk):
    return [unit_directions(first, [0, 1, 2]), *tf.unstack(unit_directions(trunk, [1, 2, 3]), num=trunk.shape[0])]


def _pose_features(conditional_input, pose):
    return tf.cast(conditional_input, pose.dtype) @ unit_directions(pose, [0])


def _per_image(offset, features):
    return tf.cast(offset, features.dtype)[..., tf.newaxis, tf.newaxis, :]
