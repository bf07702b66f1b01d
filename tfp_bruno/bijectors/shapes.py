"""Shapes of events with leading dimensions, and of batches of events with their conditions."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

_Parts = tuple[tf.Tensor, tf.Tensor]


def never_empty(
    function: Callable[[tf.Tensor, tf.Tensor | None], _Parts],
    value: tf.Tensor,
    condition: tf.Tensor | None,
    static_batch: tf.TensorShape,
) -> _Parts:
    """Calls a function of a flat batch and its condition, with one element in place of none.

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
    out, log_det = function(value, condition)
    return out[:size], log_det[:size]


def broadcast_batches(
    name: str, value_shape: tf.TensorShape, batch: tf.TensorShape, condition_shape: tf.TensorShape
) -> tf.TensorShape:
    """Returns the static batch shape of a value and its condition together, or raises a `ValueError` of one line."""
    try:
        return tf.broadcast_static_shape(batch, condition_shape[:-1])
    except ValueError as error:
        raise ValueError(
            f'{name}: the value of shape {value_shape} has batch shape {batch}, which does not broadcast against '
            f'`conditional_input` of shape {condition_shape}: give one condition per event.'
        ) from error


def replace_event(name: str, shape: TensorLike, old: tuple[int, ...], new: tuple[int, ...]) -> tf.TensorShape:
    """Returns a shape with the event shape `new` in place of `old`.

    Args:
        name: The bijector's name.
        shape: Shape with any leading dimensions.
        old: Event shape at its end.
        new: Event shape at the end of the result.

    Raises:
        ValueError: If the shape ends with another event shape.
    """
    shape = tf.TensorShape(shape)
    if shape.rank is None:
        return shape
    batch_rank = shape.rank - len(old)
    if batch_rank < 0 or not shape[batch_rank:].is_compatible_with(old):
        raise ValueError(f'{name}: events must have shape {old}, but the shape is {shape}.')
    return shape[:batch_rank].concatenate(new)


def replace_event_tensor(name: str, shape: tf.Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> tf.Tensor:
    """Does as `replace_event` with a shape in a tensor; it is checked only if its value is known statically."""
    static = tf.get_static_value(shape)
    if static is not None:
        replace_event(name, static, old, new)
    return tf.concat([shape[: tf.size(shape) - len(old)], tf.constant(new, dtype=shape.dtype)], 0)
