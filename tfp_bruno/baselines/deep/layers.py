"""The layers of the deep baselines.

Strides equal kernel sizes, so all convolutions except those of 3 x 3 and 5 x 5 are matrix products.
"""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.layers import convolve


class Dense(tf.Module):
    """An affine map of the last axis."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        initializer: str = 'lecun_uniform',
        use_bias: bool = True,
        name: str | None = None,
    ) -> None:
        """Creates the weights.

        Args:
            inputs: Size of the last axis.
            outputs: Size of the result's last axis.
            initializer: Name of the kernel's initialiser in tf_keras.
            use_bias: Whether a constant is added.
            name: Name of the module.
        """
        super().__init__(name=name)
        self.kernel = _weight('kernel', [inputs, outputs], initializer)
        self.bias = _weight('bias', [outputs], 'zeros') if use_bias else None

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Maps `[..., inputs]` to `[..., outputs]`."""
        # One matrix product: TensorFlow would compute a batch of small ones, whose gradient is slow.
        out = _with_bias(tf.matmul(tf.reshape(value, [-1, self.kernel.shape[0]]), self.kernel), self.bias)
        return tf.reshape(out, tf.concat([tf.shape(value)[:-1], [self.kernel.shape[1]]], 0))


class Convolution(tf.Module):
    """A convolution of stride 1 with zero padding."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        use_bias: bool = True,
        initializer: str = 'glorot_uniform',
        name: str | None = None,
    ) -> None:
        """Creates the weights for `[N, H, W, inputs]`, with an odd `size`."""
        super().__init__(name=name)
        self.kernel = _weight('kernel', [size, size, inputs, outputs], initializer)
        self.bias = _weight('bias', [outputs], 'zeros') if use_bias else None

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Maps `[N, H, W, inputs]` to `[N, H, W, outputs]`."""
        return _with_bias(convolve(value, self.kernel), self.bias)


class PatchConvolution(tf.Module):
    """A convolution whose stride is its size: every patch of `size` x `size` pixels becomes one pixel."""

    def __init__(
        self, inputs: int, outputs: int, size: int, initializer: str = 'lecun_uniform', name: str | None = None
    ) -> None:
        """Creates the weights for `[N, H, W, inputs]`, with H and W multiples of `size`."""
        super().__init__(name=name)
        self.size = size
        self.dense = Dense(size * size * inputs, outputs, initializer)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Maps `[N, H, W, inputs]` to `[N, H / size, W / size, outputs]`."""
        # TensorFlow has no patches of one pixel.
        patches = tf.nn.space_to_depth(value, self.size) if self.size > 1 else value
        return _with_grid(self.dense(patches), value, 1 / self.size)


class PatchDeconvolution(tf.Module):
    """A transposed convolution whose stride is its size: every pixel becomes a patch of `size` x `size`."""

    def __init__(self, inputs: int, outputs: int, size: int, name: str | None = None) -> None:
        """Creates the weights for `[N, H, W, inputs]`."""
        super().__init__(name=name)
        self.size = size
        self.dense = Dense(inputs, size * size * outputs)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Maps `[N, H, W, inputs]` to `[N, size H, size W, outputs]`."""
        return tf.nn.depth_to_space(_with_grid(self.dense(value), value, 1), self.size)


class SpatialMap(tf.Module):
    """A transposed convolution of a single pixel to the whole grid: a learned map for every input."""

    def __init__(self, inputs: int, grid: tuple[int, int], channels: int, name: str | None = None) -> None:
        """Creates the weights for `[N, inputs]`; `grid` is `(H, W)` of the map."""
        super().__init__(name=name)
        self.shape = (*grid, channels)
        self.dense = Dense(inputs, grid[0] * grid[1] * channels)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Maps `[N, inputs]` to `[N, H, W, channels]`."""
        return tf.reshape(self.dense(value), [-1, *self.shape])


class ConvolutionalLSTM(tf.Module):
    """A long short-term memory with convolutions in place of matrix products.

    #### Mathematical Details

    ```none
    f, i, o, g = split(conv([constant, changing, h]))
    c' = sigmoid(f) c + sigmoid(i) tanh(g)
    h' = sigmoid(o) tanh(c')
    ```

    A convolution of concatenated inputs is a sum of convolutions. The terms of the inputs that are constant over the
    steps, with the bias, are computed once, by `constant_gates`.

    #### References

    [1]: Xingjian Shi et al. Convolutional LSTM network. NeurIPS 2015.
    """

    def __init__(self, constant: Sequence[int], changing: int, hidden: int, size: int, name: str | None = None) -> None:
        """Creates the weights.

        Args:
            constant: Channels of each of the constant inputs.
            changing: Channels of the inputs that change from step to step.
            hidden: Channels of the state.
            size: Size of the convolutions, odd.
            name: Name of the module.
        """
        super().__init__(name=name)
        self.hidden = hidden
        # The first has the bias.
        self.constant = [Convolution(inputs, 4 * hidden, size, use_bias=not i) for i, inputs in enumerate(constant)]
        self.changing = Convolution(changing + hidden, 4 * hidden, size, use_bias=False)

    def constant_gates(self, index: int, value: tf.Tensor) -> tf.Tensor:
        """Returns the term of a constant input `[N, H, W, constant[index]]` in the gates, `[N, H, W, 4 hidden]`."""
        return self.constant[index](value)

    def zero_state(self, like: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the state `(c, h)` before the first step, for gates `[N, H, W, 4 hidden]`."""
        zeros = tf.zeros_like(like[..., : self.hidden])
        return zeros, zeros

    def __call__(
        self,
        constant_gates: tf.Tensor,
        changing: Sequence[tf.Tensor],
        state: tuple[tf.Tensor, tf.Tensor],
        kernel: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the next state `(c, h)`.

        Args:
            constant_gates: Sum of the terms of all constant inputs, `[N, H, W, 4 hidden]`.
            changing: Changing inputs, each `[N, H, W, ...]`.
            state: `(c, h)`, each `[N, H, W, hidden]`.
            kernel: Kernel of the changing inputs and the state, read once for all steps; `None` for this memory's own.
        """
        cell, hidden = state
        kernel = self.changing.kernel if kernel is None else kernel
        gates = constant_gates + convolve(tf.concat([*changing, hidden], -1), kernel)
        forget, remember, output, value = tf.split(gates, 4, axis=-1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(remember) * tf.tanh(value)
        return cell, tf.sigmoid(output) * tf.tanh(cell)


def _weight(name: str, shape: Sequence[int], initializer: str) -> tf.Variable:
    return tf.Variable(tf_keras.initializers.get(initializer)(shape, tf.float32), name=name)


def _with_bias(value: tf.Tensor, bias: tf.Variable | None) -> tf.Tensor:
    return value if bias is None else tf.nn.bias_add(value, bias)


def _with_grid(out: tf.Tensor, value: tf.Tensor, scale: float) -> tf.Tensor:
    """Returns `out` with its static shape, whose grid is `scale` times the grid of `value`."""
    height, width = (int(size * scale) for size in value.shape[1:3])
    return tf.ensure_shape(out, [value.shape[0], height, width, out.shape[-1]])
