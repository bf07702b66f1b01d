"""The networks inside the couplings of RealNVP, with weight normalisation, as in the official Conditional BRUNO."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.data_dependent_init import channel_moments, replace_unless
from tfp_bruno.networks.layers import convolve

# From the layer's index and the hidden features, or from an input and the weights, to the layer's output.
_Layer = Callable[[Any, Any], tf.Tensor]


class _WeightNormConditioner(tf_keras.layers.Layer):
    """A conditioner whose weights are normalised in their own precision and cast afterwards."""

    def _weight(
        self, name: str, shape: Sequence[int], initializer: str, trainable: bool = True, dtype: tf.DType | None = None
    ) -> tf.Variable:
        """Adds a weight that is not cast on reading; all replicas may assign the same value to it."""
        return self.add_weight(
            name,
            shape,
            initializer=initializer,
            trainable=trainable,
            dtype=dtype,
            experimental_autocast=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def _cast(self, value: tf.Tensor | tf.Variable) -> tf.Tensor:
        return tf.cast(value, self.compute_dtype)

    def initialize(
        self, x: tf.Tensor, conditional_input: tf.Tensor, overwrite: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sets gains and biases from a batch: the output of every layer then has mean 0 and variance 1.

        A feature that is constant over the batch keeps a gain of 1.

        Args:
            x: As in `call`.
            conditional_input: As in `call`.
            overwrite: Whether to initialise again a network that is initialised.

        Returns:
            What `call` then returns for the batch.
        """
        if not self.built:
            self.build(x.shape)
        outputs = self._fit(x, conditional_input, tf.logical_and(self.is_initialized, not overwrite))
        self.is_initialized.assign(True)
        return outputs

    def _fit(self, x: tf.Tensor, conditional_input: tf.Tensor, keep: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Assigns gains and biases unless `keep`, and returns the outputs."""
        raise NotImplementedError


class WeightNormConvolutionalConditioner(_WeightNormConditioner):
    """A residual network with weight normalisation; the condition is added to every convolution's output.

    A 3 x 3 convolution, blocks of two of them with a skip connection and ELU, and a 1 x 1 convolution to shift and
    log-scale. (The official code asks for a first convolution of 1 x 1, but ignores that size if there is a condition.)
    A linear function of the condition is added to every convolution's output, before its nonlinearity. The last layer
    starts at zero, so a coupling starts as the identity; in the official code its projection of the condition does not.

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(self, filters: int, num_blocks: int, condition_size: int, **kwargs: Any) -> None:
        """Constructs the network.

        Args:
            filters: Number of filters of all hidden convolutions.
            num_blocks: Number of residual blocks.
            condition_size: Size of the condition vector.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`; with `dtype='mixed_bfloat16'`, weights are float32
                and convolutions bfloat16.
        """
        super().__init__(**kwargs)
        self.filters = filters
        self.num_blocks = num_blocks
        self.condition_size = condition_size

    def build(self, input_shape: Any) -> None:
        """Creates the weights for events of shape `[N, H, W, C]`."""
        channels, filters, layers = input_shape[-1], self.filters, 1 + 2 * self.num_blocks
        # Few, large variables: every one costs time in tracing and in the optimiser.
        self.first = self._weight('first', [3, 3, channels, filters], 'random_normal')
        self.trunk = self._weight('trunk', [layers - 1, 3, 3, filters, filters], 'random_normal')
        self.gain = self._weight('gain', [layers, filters], 'ones')
        self.bias = self._weight('bias', [layers, filters], 'zeros')
        self.pose = self._weight('pose', [self.condition_size, layers * filters], 'random_normal')
        self.pose_gain = self._weight('pose_gain', [layers * filters], 'ones')
        self.pose_shift = self._weight('pose_shift', [layers * filters], 'zeros', trainable=False)
        self.last = self._weight('last', [1, 1, filters, 2 * channels], 'zeros')
        self.last_bias = self._weight('last_bias', [2 * channels], 'zeros')
        self.last_pose = self._weight('last_pose', [self.condition_size, 2 * channels], 'zeros')
        self.is_initialized = self._weight('is_initialized', [], 'zeros', trainable=False, dtype=tf.bool)
        super().build(input_shape)

    def call(self, x: tf.Tensor, conditional_input: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps `x` `[N, H, W, C]` and conditions `[N, condition_size]` to `(shift, log_scale)` of the shape of x."""
        weights = (self.first, self.trunk, self.gain, self.bias, self.pose, self.pose_gain, self.pose_shift)
        hidden = _trunk_features(self._cast(x), conditional_input, tuple(map(tf.convert_to_tensor, weights)))
        return self._outputs(hidden, conditional_input)

    def _fit(self, x: tf.Tensor, conditional_input: tf.Tensor, keep: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = _pose_features(conditional_input, self.pose)
        pose_gain, pose_shift = _fit_gain_and_bias(features, self.pose_gain, self.pose_shift, keep)
        offsets = tf.split(features * pose_gain + pose_shift, 1 + 2 * self.num_blocks, axis=-1)
        kernels = _unit_kernels(self.first, self.trunk)
        gains: list[tf.Tensor] = []
        biases: list[tf.Tensor] = []

        def layer(index: int, hidden: tf.Tensor) -> tf.Tensor:
            out = convolve(hidden, self._cast(kernels[index]))
            gain, bias = _fit_gain_and_bias(out, self.gain[index], self.bias[index], keep)
            gains.append(gain)
            biases.append(bias)
            return out * self._cast(gain) + _per_image(bias + offsets[index], out)

        hidden = _residual_trunk(self._cast(x), self.num_blocks, layer)
        self.pose_gain.assign(pose_gain)
        self.pose_shift.assign(pose_shift)
        self.gain.assign(tf.stack(gains))
        self.bias.assign(tf.stack(biases))
        return self._outputs(hidden, conditional_input)

    def _outputs(self, hidden: tf.Tensor, conditional_input: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        out = convolve(hidden, self._cast(self.last))
        offset = tf.cast(conditional_input, self.last_pose.dtype) @ self.last_pose + self.last_bias
        shift, log_scale = tf.split(out + _per_image(offset, out), 2, axis=-1)
        return shift, log_scale


# A function of the weights, so that all couplings of one size share a trace: tracing each takes seconds.
@tf.function(autograph=False)
def _trunk_features(x: tf.Tensor, conditional_input: tf.Tensor, weights: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """Returns the last hidden features `[N, H, W, F]`."""
    first, trunk, gain, bias, pose, pose_gain, pose_shift = weights
    layers = gain.shape[0]
    offsets = _pose_features(conditional_input, pose) * pose_gain + pose_shift + tf.reshape(bias, [-1])
    offsets = tf.split(offsets, layers, axis=-1)
    kernels = [tf.cast(kernel * gain[index], x.dtype) for index, kernel in enumerate(_unit_kernels(first, trunk))]

    def layer(index: int, hidden: tf.Tensor) -> tf.Tensor:
        return convolve(hidden, kernels[index]) + _per_image(offsets[index], hidden)

    return _residual_trunk(x, (layers - 1) // 2, layer)


def _residual_trunk(x: tf.Tensor, num_blocks: int, layer: _Layer) -> tf.Tensor:
    """Returns the features of a residual network whose i-th convolution is `layer(i, hidden)`."""
    hidden = tf.nn.elu(layer(0, x))
    for block in range(num_blocks):
        inner = tf.nn.elu(layer(2 * block + 1, hidden))
        hidden = tf.nn.elu(layer(2 * block + 2, inner) + hidden)
    return hidden


def _unit_kernels(first: tf.Tensor | tf.Variable, trunk: tf.Tensor | tf.Variable) -> list[tf.Tensor]:
    return [_unit_directions(first, [0, 1, 2]), *tf.unstack(_unit_directions(trunk, [1, 2, 3]), num=trunk.shape[0])]


def _pose_features(conditional_input: tf.Tensor, pose: tf.Tensor | tf.Variable) -> tf.Tensor:
    return tf.cast(conditional_input, pose.dtype) @ _unit_directions(pose, [0])


def _per_image(offset: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    return tf.cast(offset, features.dtype)[..., tf.newaxis, tf.newaxis, :]


class WeightNormDenseConditioner(_WeightNormConditioner):
    """Two hidden layers with weight normalisation; an embedding of the condition is appended to every layer's input.

    The embedding has half as many features as the input that it is appended to. The event may have any shape; it is
    flattened. The last layer starts at zero, so a coupling starts as the identity.

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(self, units: int, condition_size: int, **kwargs: Any) -> None:
        """Constructs the network.

        Args:
            units: Number of hidden units, even.
            condition_size: Size of the condition vector.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units
        self.condition_size = condition_size

    def build(self, input_shape: Any) -> None:
        """Creates the weights for events of shape `[N] + event`."""
        size = math.prod(input_shape[1:])
        self.poses, self.hiddens = [], []
        for index, inputs in enumerate((size, self.units)):
            self.poses.append(self._normalised_weights(f'pose_{index}', self.condition_size, inputs // 2))
            self.hiddens.append(self._normalised_weights(f'hidden_{index}', inputs + inputs // 2, self.units))
        # The weights of log-scale and shift, in this order.
        embedded = self.units // 2
        self.last_pose = self._weight('last_pose', [self.condition_size, 2 * embedded], 'orthogonal')
        self.last_pose_bias = self._weight('last_pose_bias', [2 * embedded], 'zeros')
        self.last = self._weight('last', [2, self.units + embedded, size], 'zeros')
        self.last_bias = self._weight('last_bias', [2, 1, size], 'zeros')
        self.is_initialized = self._weight('is_initialized', [], 'zeros', trainable=False, dtype=tf.bool)
        super().build(input_shape)

    def _normalised_weights(self, name: str, inputs: int, outputs: int) -> tuple[tf.Variable, tf.Variable, tf.Variable]:
        """Adds direction, gain and bias of a layer."""
        return (
            self._weight(f'{name}/direction', [inputs, outputs], 'random_normal'),
            self._weight(f'{name}/gain', [outputs], 'ones'),
            self._weight(f'{name}/bias', [outputs], 'zeros'),
        )

    def call(self, x: tf.Tensor, conditional_input: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps `x` `[N, ...]` and conditions `[N, condition_size]` to `(shift, log_scale)` of the shape of x."""

        def layer(value: tf.Tensor, weights: tuple[tf.Variable, tf.Variable, tf.Variable]) -> tf.Tensor:
            direction, gain, bias = weights
            return self._multiply(value, _unit_directions(direction, [0])) * self._cast(gain) + self._cast(bias)

        return self._outputs(x, conditional_input, layer)

    def _fit(self, x: tf.Tensor, conditional_input: tf.Tensor, keep: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def layer(value: tf.Tensor, weights: tuple[tf.Variable, tf.Variable, tf.Variable]) -> tf.Tensor:
            direction, gain, bias = weights
            out = self._multiply(value, _unit_directions(direction, [0]))
            fitted = _fit_gain_and_bias(out, gain, bias, keep)
            gain.assign(fitted[0])
            bias.assign(fitted[1])
            return out * self._cast(gain) + self._cast(bias)

        return self._outputs(x, conditional_input, layer)

    def _outputs(self, x: tf.Tensor, conditional_input: tf.Tensor, layer: _Layer) -> tuple[tf.Tensor, tf.Tensor]:
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

    def _multiply(self, value: tf.Tensor, matrix: tf.Tensor | tf.Variable) -> tf.Tensor:
        return value @ self._cast(matrix)


def _unit_directions(directions: tf.Tensor | tf.Variable, axes: list[int]) -> tf.Tensor:
    """Returns weights `V / ||V||`: those of each output unit have norm 1.

    #### References

    [1]: Tim Salimans, Durk P. Kingma. Weight normalization. NeurIPS 2016.

    Args:
        directions: The weights V.
        axes: All axes of one unit's weights.
    """
    return directions * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(directions), axes, keepdims=True), 1e-12))


def _fit_gain_and_bias(
    features: tf.Tensor, gain: tf.Tensor | tf.Variable, bias: tf.Tensor | tf.Variable, keep: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns gain and bias `[F]` that give features `[..., F]` mean 0 and variance 1; the given ones if `keep`."""
    mean, scale = channel_moments(features)
    return replace_unless(keep, gain, 1.0 / scale), replace_unless(keep, bias, -mean * (1.0 / scale))
