"""The layers that the deep baselines are made of. Strides equal sizes, so all but 3 x 3 and 5 x 5 are products."""

import tensorflow as tf
import tf_keras

from tfp_bruno.networks.convolution import convolve

__all__ = ['Convolution', 'Dense', 'PatchConvolution', 'PatchDeconvolution', 'SpatialMap']


class Dense(tf.Module):
    """An affine map of the last axis."""

    def __init__(self, inputs, outputs, initializer='lecun_uniform', use_bias=True, name=None):
        """Creates the weights.

        Args:
            inputs: `int`, size of the last axis.
            outputs: `int`, size of the result's.
            initializer: Initialiser of the kernel, as tf_keras names it.
            use_bias: `bool`, whether a constant is added.
            name: Python `str`.
        """
        super().__init__(name=name)
        self.kernel = _weight('kernel', [inputs, outputs], initializer)
        self.bias = _weight('bias', [outputs], 'zeros') if use_bias else None

    def __call__(self, value):
        """Maps `[..., inputs]` to `[..., outputs]`."""
        # One matrix product: TensorFlow would take a batch of small ones, and their gradient is slow.
        out = _with_bias(tf.matmul(tf.reshape(value, [-1, self.kernel.shape[0]]), self.kernel), self.bias)
        return tf.reshape(out, tf.concat([tf.shape(value)[:-1], [self.kernel.shape[1]]], 0))


class Convolution(tf.Module):
    """A convolution of stride 1 with zero padding; one of a concatenation is a sum of some without a bias."""

    def __init__(self, inputs, outputs, size, use_bias=True, initializer='glorot_uniform', name=None):
        """Creates the weights for `[N, H, W, inputs]`, with an odd `size`."""
        super().__init__(name=name)
        self.kernel = _weight('kernel', [size, size, inputs, outputs], initializer)
        self.bias = _weight('bias', [outputs], 'zeros') if use_bias else None

    def __call__(self, value):
        """Maps `[N, H, W, inputs]` to `[N, H, W, outputs]`."""
        return _with_bias(convolve(value, self.kernel), self.bias)


class PatchConvolution(tf.Module):
    """A convolution whose stride is its size: every patch of `size` x `size` pixels becomes one."""

    def __init__(self, inputs, outputs, size, initializer='lecun_uniform', name=None):
        """Creates the weights for `[N, H, W, inputs]`, H and W multiples of `size`."""
        super().__init__(name=name)
        self.size = size
        self.dense = Dense(size * size * inputs, outputs, initializer)

    def __call__(self, value):
        """Maps `[N, H, W, inputs]` to `[N, H / size, W / size, outputs]`."""
        # TensorFlow knows no patches of one pixel.
        patches = tf.nn.space_to_depth(value, self.size) if self.size > 1 else value
        return _with_grid(self.dense(patches), value, 1 / self.size)


class PatchDeconvolution(tf.Module):
    """A transposed convolution whose stride is its size: every pixel becomes a patch of `size` x `size`."""

    def __init__(self, inputs, outputs, size, name=None):
        """Creates the weights for `[N, H, W, inputs]`."""
        super().__init__(name=name)
        self.size = size
        self.dense = Dense(inputs, size * size * outputs)

    def __call__(self, value):
        """Maps `[N, H, W, inputs]` to `[N, size H, size W, outputs]`."""
        return tf.nn.depth_to_space(_with_grid(self.dense(value), value, 1), self.size)


class SpatialMap(tf.Module):
    """A transposed convolution of a single pixel to the whole grid: a learned map for every input."""

    def __init__(self, inputs, grid, channels, name=None):
        """Creates the weights for `[N, inputs]`; `grid` is `(H, W)` of the map."""
        super().__init__(name=name)
        self.shape = (*grid, channels)
        self.dense = Dense(inputs, grid[0] * grid[1] * channels)

    def __call__(self, value):
        """Maps `[N, inputs]` to `[N, H, W, channels]`."""
        return tf.reshape(self.dense(value), [-1, *self.shape])


def _weight(name, shape, initializer):
    return tf.Variable(tf_keras.initializers.get(initializer)(shape, tf.float32), name=name)


def _with_bias(value, bias):
    return value if bias is None else tf.nn.bias_add(value, bias)


def _with_grid(out, value, scale):
    """Returns `out` with the static shape that a scale of the grid of `value` gives it."""
    height, width = (int(size * scale) for size in value.shape[1:3])
    return tf.ensure_shape(out, [value.shape[0], height, width, out.shape[-1]])
