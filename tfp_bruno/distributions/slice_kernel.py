"""Kernels over one-hot poses: slices resemble each other the more, the nearer they lie."""

import tensorflow as tf
from tensorflow_probability.python.math import psd_kernels

__all__ = ['SLICE_KERNELS', 'slice_kernel']

SLICE_KERNELS = {
    'exponential': psd_kernels.MaternOneHalf,
    'matern_three_halves': psd_kernels.MaternThreeHalves,
    'squared_exponential': psd_kernels.ExponentiatedQuadratic,
}


def slice_kernel(length_scale, num_slices, family='exponential'):
    """Returns a kernel between one-hot poses `[K]` that falls off with their distance, counted in slices.

    Args:
        length_scale: Floating-point `Tensor`, scalar or `[G]` for G groups of dimensions.
        num_slices: Integer, K.
        family: Name of a kernel in `SLICE_KERNELS`: 'exponential', which is `exp(-distance / length_scale)`,
            'matern_three_halves', or 'squared_exponential', which is `exp(-(distance / length_scale)^2 / 2)`.
    """
    kernel = SLICE_KERNELS[family](length_scale=length_scale)
    positions = tf.range(num_slices, dtype=kernel.dtype)
    # Not `tf.matmul`: TensorFlow 2.21 writes past the end of a product of `[B, 1, n, K]` and a matrix on CPUs with
    # AVX-512.
    return psd_kernels.FeatureTransformed(kernel, lambda poses, *_: tf.reduce_sum(poses * positions, -1, keepdims=True))
