"""A kernel over one-hot poses: slices resemble each other the more, the nearer they lie."""

import tensorflow as tf
from tensorflow_probability.python.math import psd_kernels

__all__ = ['slice_kernel']


def slice_kernel(length_scale, num_slices):
    """Returns the kernel `exp(-distance / length_scale)` between one-hot poses `[K]`, the distance counted in slices.

    Args:
        length_scale: Floating-point `Tensor`, scalar or `[G]` for G groups of dimensions.
        num_slices: Integer, K.
    """
    kernel = psd_kernels.MaternOneHalf(length_scale=length_scale)
    positions = tf.range(num_slices, dtype=kernel.dtype)[:, tf.newaxis]
    return psd_kernels.FeatureTransformed(kernel, lambda poses, *_: tf.matmul(poses, positions))
