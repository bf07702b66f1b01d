"""Shapes of tensors that have a batch in front of an event of known rank."""

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['batch_of', 'broadcast_batch', 'can_broadcast', 'concat_steps', 'flatten_batch']


def can_broadcast(shape, other):
    """Returns whether two static shapes broadcast, as far as they are known."""
    try:
        tf.broadcast_static_shape(shape, other)
    except ValueError:
        return False
    return True


def batch_of(value, event_ndims):
    """Returns the batch shape of a tensor, static where it is known."""
    batch = value.shape[: value.shape.rank - event_ndims]
    return np.array(batch, np.int32) if batch.is_fully_defined() else ps.shape(value)[:-event_ndims]


def broadcast_batch(value, event_ndims, batch):
    """Returns a tensor whose batch shape is broadcast with `batch`; the tensor itself where that changes nothing."""
    shape = ps.shape(value)
    cut = ps.rank(value) - event_ndims
    wanted = ps.concat([ps.broadcast_shape(shape[:cut], batch), shape[cut:]], 0)
    static = tf.get_static_value(wanted)
    if static is not None and value.shape.is_fully_defined() and list(static) == value.shape.as_list():
        return value
    return tf.broadcast_to(value, wanted)


def concat_steps(first, second):
    """Returns `[..., n, K]` and `[..., m, K]` concatenated along the steps, their batch shapes broadcast."""
    batch = ps.broadcast_shape(ps.shape(first)[:-2], ps.shape(second)[:-2])
    return tf.concat([broadcast_batch(first, 2, batch), broadcast_batch(second, 2, batch)], axis=-2)


def flatten_batch(value, event_ndims, batch):
    """Returns a tensor broadcast to a batch shape, whose axes become one."""
    event = ps.shape(value)[ps.rank(value) - event_ndims :]
    value = tf.broadcast_to(value, ps.concat([batch, event], 0))
    # Not -1: sums over loadings are faster where the size is static.
    return tf.reshape(value, ps.concat([[ps.reduce_prod(batch)], event], 0))
