"""Shapes of tensors that have a batch in front of an event of known rank."""

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['batch_of', 'can_broadcast', 'flatten_batch', 'split_shape', 'with_batch']


def can_broadcast(shape, other):
    """Whether two static shapes broadcast, as far as they are known."""
    try:
        tf.broadcast_static_shape(shape, other)
    except ValueError:
        return False
    return True


def split_shape(value, event_ndims):
    """Returns (batch, event) of a tensor's shape; one of fewer dimensions has no batch."""
    shape = ps.shape(value)
    cut = max(0, ps.rank(value) - event_ndims)
    return shape[:cut], shape[cut:]


def with_batch(value, event_ndims, batch_shape):
    """Returns a tensor broadcast to a batch shape; of an event of fewer dimensions, the first ones become 1."""
    event = split_shape(value, event_ndims)[1]
    event = ps.concat([[1] * (event_ndims - min(event_ndims, ps.rank(value))), event], axis=0)
    return tf.broadcast_to(value, ps.concat([batch_shape, event], axis=0))


def batch_of(value, event_ndims):
    """Returns the shape in front of an event, known before it is run wherever it can be."""
    batch = value.shape[: value.shape.rank - event_ndims]
    return np.array(batch, np.int32) if batch.is_fully_defined() else ps.shape(value)[:-event_ndims]


def flatten_batch(value, event_ndims, batch):
    """Returns a tensor broadcast to a batch shape, which is then made one axis."""
    event = ps.shape(value)[ps.rank(value) - event_ndims :]
    value = tf.broadcast_to(value, ps.concat([batch, event], 0))
    # Not -1: sums over loadings are faster where the size is known.
    return tf.reshape(value, ps.concat([[ps.reduce_prod(batch)], event], 0))
