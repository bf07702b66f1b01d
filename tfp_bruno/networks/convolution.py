"""A convolution whose gradient is fast on CPUs."""

import tensorflow as tf

__all__ = ['convolve']


def convolve(value, kernel):
    """Convolves with stride 1 and zero padding, as `tf.nn.conv2d(value, kernel, 1, 'SAME')` does.

    The gradient to the input is a convolution with the mirrored kernel. Written as such it takes TensorFlow's forward
    kernel, which on CPUs is more than twice as fast as the one for gradients.

    Args:
        value: `Tensor` of shape `[N, H, W, C]`.
        kernel: `Tensor` of shape `[odd, odd, C, F]`.

    Returns:
        `Tensor` of shape `[N, H, W, F]`.
    """
    # A tensor, since a custom gradient sees through no variable that is cast on reading.
    return _convolve(value, tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _convolve(value, kernel):
    out = tf.nn.conv2d(value, kernel, 1, 'SAME')

    def gradient(upstream):
        mirrored = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        to_value = tf.nn.conv2d(upstream, mirrored, 1, 'SAME')
        to_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=value, filter_sizes=tf.shape(kernel), out_backprop=upstream, strides=[1, 1, 1, 1], padding='SAME'
        )
        return to_value, to_kernel

    return out, gradient
