"""Tensors with axes for a batch, the steps and the dimensions: broadcasting, and matrices applied over the steps."""

from typing import TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

TensorLike: TypeAlias = tf.types.experimental.TensorLike


def can_broadcast(shape: tf.TensorShape, other: tf.TensorShape) -> bool:
    """Returns whether two static shapes broadcast, as far as they are known."""
    try:
        tf.broadcast_static_shape(shape, other)
    except ValueError:
        return False
    return True


def batch_of(value: tf.Tensor, event_ndims: int) -> np.ndarray | tf.Tensor:
    """Returns the batch shape of a tensor, static where it is known."""
    batch = value.shape[: value.shape.rank - event_ndims]
    return np.array(batch, np.int32) if batch.is_fully_defined() else ps.shape(value)[:-event_ndims]


def broadcast_batch(value: tf.Tensor, event_ndims: int, batch: TensorLike) -> tf.Tensor:
    """Returns a tensor whose batch shape is broadcast with `batch`; the tensor itself where that changes nothing."""
    shape = ps.shape(value)
    cut = ps.rank(value) - event_ndims
    wanted = ps.concat([ps.broadcast_shape(shape[:cut], batch), shape[cut:]], 0)
    static = tf.get_static_value(wanted)
    if static is not None and value.shape.is_fully_defined() and list(static) == value.shape.as_list():
        return value
    return tf.broadcast_to(value, wanted)


def flatten_batch(value: tf.Tensor, event_ndims: int, batch: TensorLike) -> tf.Tensor:
    """Returns a tensor broadcast to a batch shape, whose axes are merged into one."""
    event = ps.shape(value)[ps.rank(value) - event_ndims :]
    value = tf.broadcast_to(value, ps.concat([batch, event], 0))
    # Not -1: sums over loadings are faster where the size is static.
    return tf.reshape(value, ps.concat([[ps.reduce_prod(batch)], event], 0))


def concat_steps(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns `[..., n, K]` and `[..., m, K]` concatenated along the steps, their batch shapes broadcast."""
    batch = ps.broadcast_shape(ps.shape(first)[:-2], ps.shape(second)[:-2])
    return tf.concat([broadcast_batch(first, 2, batch), broadcast_batch(second, 2, batch)], axis=-2)


def zero_missing(value: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns vectors `[..., n, D]` with zeros where the weight `[..., n]` of a step is zero."""
    # Not a product: a missing value may be NaN.
    return tf.where(weights[..., tf.newaxis] > 0.0, value, tf.zeros([], value.dtype))


def mix_steps(matrix: tf.Tensor, value: tf.Tensor, event_ndims: int = 2) -> tf.Tensor:
    """Multiplies vectors by matrices over the steps.

    Args:
        matrix: `[..., G, m, n]`, one for each of G groups of D / G neighbouring dimensions.
        value: `[..., n, D]`, or with `event_ndims` 3 `[..., n, D, q]`.
        event_ndims: 2 or 3.

    Returns:
        `[..., m, D]` or `[..., m, D, q]`.
    """
    shape = ps.shape(value)
    batch, steps, rest = shape[:-event_ndims], shape[-event_ndims], shape[1 - event_ndims :]
    size = ps.reduce_prod(rest)
    groups = matrix.shape[-3]
    if groups == 1:
        flat = tf.reshape(value, ps.concat([batch, [steps, size]], 0))
        mixed = tf.matmul(matrix[..., 0, :, :], flat)
    else:
        flat = tf.reshape(value, ps.concat([batch, [steps, groups, size // groups]], 0))
        mixed = _swap(tf.matmul(matrix, _swap(flat)))
        mixed = tf.reshape(mixed, ps.concat([ps.shape(mixed)[:-2], [size]], 0))
    return tf.reshape(mixed, ps.concat([ps.shape(mixed)[:-1], rest], 0))


def expand_groups(value: tf.Tensor, dimension: int) -> tf.Tensor:
    """Returns the values `[..., G, n]` of G groups for each of D dimensions, `[..., n, D]` (or `[..., n, 1]`)."""
    value = tf.linalg.matrix_transpose(value)
    groups = value.shape[-1]
    return value if groups == 1 else tf.repeat(value, dimension // groups, axis=-1)


def expand_matrices(matrix: tf.Tensor, dimension: int) -> tf.Tensor:
    """Returns the matrices `[..., G, m, n]` of G groups for each of D dimensions, `[..., D, m, n]`."""
    return tf.repeat(matrix, dimension // matrix.shape[-3], axis=-3)


def eye_like(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the identity of the size and dtype of a matrix `[..., q, q]`."""
    return tf.eye(ps.shape(matrix)[-1], dtype=matrix.dtype)


def steps_first(matrix: tf.Tensor) -> tf.Tensor:
    """Returns matrices `[..., D, m, n]` with the dimensions last, `[..., m, n, D]`."""
    rank = matrix.shape.rank
    return tf.transpose(matrix, [*range(rank - 3), rank - 2, rank - 1, rank - 3])


def block_covariance(within: tf.Tensor) -> tf.Tensor:
    """Returns the covariance `[..., n D, n D]` of flattened events, given that of each dimension, `[..., n, n, D]`."""
    shape = ps.shape(within)
    size = shape[-1] * shape[-2]
    blocks = tf.einsum('...ijd,de->...idje', within, tf.eye(shape[-1], dtype=within.dtype))
    return tf.reshape(blocks, ps.concat([shape[:-3], [size, size]], 0))


def _swap(value: tf.Tensor) -> tf.Tensor:
    """Swaps the second and third axes from the end."""
    rank = value.shape.rank
    return tf.transpose(value, [*range(rank - 3), rank - 2, rank - 3, rank - 1])
