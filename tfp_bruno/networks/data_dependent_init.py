"""Data-dependent initialisation: moments of a batch, also of one that is spread over replicas."""

import tensorflow as tf

# Channels of smaller variance are constant.
_SMALLEST_VARIANCE = 1e-12


def channel_moments(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and standard deviation of each channel over a batch, equal in every replica.

    Under a `tf.distribute.Strategy` each replica holds a part of the batch; the parts must have equal size.

    Args:
        value: Shape `[N, ..., C]`.

    Returns:
        mean: Shape `[C]`, float32 or wider.
        scale: Shape `[C]`, the standard deviations, and 1 for constant channels.
    """
    axes = list(range(value.shape.rank - 1))
    value = tf.cast(value, tf.float64 if value.dtype == tf.float64 else tf.float32)
    mean = mean_over_replicas(tf.reduce_mean(value, axes, keepdims=True))
    # In a second pass about the common mean: a difference of two squares would cancel.
    variance = mean_over_replicas(tf.reduce_mean(tf.math.squared_difference(value, mean), axes))
    scale = tf.where(variance > _SMALLEST_VARIANCE, tf.sqrt(variance), tf.ones_like(variance))
    return tf.reshape(mean, tf.shape(variance)), scale


def replace_unless(keep: tf.Tensor, old: tf.Tensor | tf.Variable, new: tf.Tensor) -> tf.Tensor:
    """Returns `old` if `keep`, otherwise `new` in the dtype of `old`.

    Both are computed: in the replicas of a strategy, a `tf.cond` could not assign variables.
    """
    return tf.where(keep, old, tf.cast(new, old.dtype))


def mean_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a value over the replicas of a `tf.distribute.Strategy`; elsewhere the value itself."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, value)
