"""Shapes of events and conditions with leading dimensions, and flat batches of them."""

import tensorflow as tf

__all__ = ['broadcast_batches', 'never_empty', 'replace_event', 'replace_event_tensor']


def never_empty(function, value, condition, static_batch):
    """Calls a function of a flat batch and its condition, and gives it one element where there is none.

    On CPUs with AVX-512, TensorFlow 2.21 returns a convolution of an empty batch with the wrong number of channels.
    """
    if static_batch.is_fully_defined() and static_batch.num_elements() > 0:
        return function(value, condition)
    size = tf.shape(value)[0]
    missing = tf.cast(tf.equal(size, 0), tf.int32)
    value, condition = (
        None if part is None else tf.pad(part, [[0, missing], *([[0, 0]] * (part.shape.rank - 1))])
        for part in (value, condition)
    )
    return tuple(part[:size] for part in function(value, condition))


def broadcast_batches(name, value_shape, batch, condition_shape):
    """Returns the static batch shape of a value and its condition together, or raises a `ValueError` of one line."""
    try:
        return tf.broadcast_static_shape(batch, condition_shape[:-1])
    except ValueError as error:
        raise ValueError(
            f'{name}: the value of shape {value_shape} has batch shape {batch}, which does not broadcast against '
            f'`conditional_input` of shape {condition_shape}: give one condition per event.'
        ) from error


def replace_event(name, shape, old, new):
    """Returns a `tf.TensorShape` with the event shape `new` in place of `old`.

    Args:
        name: Python `str`, the bijector's name.
        shape: Shape with any leading dimensions.
        old: Event shape that it ends with.
        new: Event shape of the result.

    Raises:
        ValueError: if the shape ends with another event shape.
    """
    shape = tf.TensorShape(shape)
    if shape.rank is None:
        return shape
    batch_rank = shape.rank - len(old)
    if batch_rank < 0 or not shape[batch_rank:].is_compatible_with(old):
        raise ValueError(f'{name}: events must have shape {old}, but the shape is {shape}.')
    return shape[:batch_rank].concatenate(new)


def replace_event_tensor(name, shape, old, new):
    """Returns what `replace_event` does of a shape in a `Tensor`; one that is not known yet is not checked."""
    static = tf.get_static_value(shape)
    if static is not None:
        replace_event(name, static, old, new)
    return tf.concat([shape[: tf.size(shape) - len(old)], tf.constant(new, dtype=shape.dtype)], 0)
