"""Moments of a batch that may be spread over several devices."""

import tensorflow as tf

__all__ = ['batch_scale', 'replica_moments']

# A spread below this is that of a constant, which keeps its scale.
_CONSTANT = 1e-12


def replica_moments(value, axes):
    """Returns mean and variance over the whole batch, on every device the same.

    Under a `tf.distribute.Strategy` each replica sees a part of the batch; parts of equal size are averaged.

    Args:
        value: `Tensor`.
        axes: List of `int`, the axes that are averaged over.

    Returns:
        mean: `Tensor` of the shape that is left, float32 or wider.
        variance: `Tensor` of the same shape.
    """
    value = tf.cast(value, tf.float64 if value.dtype == tf.float64 else tf.float32)
    mean = _over_replicas(tf.reduce_mean(value, axes, keepdims=True))
    # A second pass about the common mean: the difference of two squares would cancel.
    variance = _over_replicas(tf.reduce_mean(tf.math.squared_difference(value, mean), axes))
    return tf.reshape(mean, tf.shape(variance)), variance


def batch_scale(variance):
    """Returns the standard deviations of variances, and 1 where there is none: a constant keeps its scale."""
    return tf.where(variance > _CONSTANT, tf.sqrt(variance), tf.ones_like(variance))


def _over_replicas(mean):
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
