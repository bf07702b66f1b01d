"""Linear maps over the steps of sequences, one for each group of latent dimensions."""

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['block_covariance', 'expand_groups', 'mix_steps']


def mix_steps(matrix, value, event_ndims=2):
    """Applies matrices over the steps.

    Args:
        matrix: `[..., G, m, n]`; G groups of equally many, neighbouring dimensions each have their own.
        value: `[..., n, D]`, D a multiple of G, or with `event_ndims` 3 `[..., n, D, q]`.
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


def expand_groups(value, dimension):
    """Returns the values `[..., G, n]` of G groups for each of D dimensions, `[..., n, D]` (or `[..., n, 1]`)."""
    value = tf.linalg.matrix_transpose(value)
    groups = value.shape[-1]
    return value if groups == 1 else tf.repeat(value, dimension // groups, axis=-1)


def block_covariance(within):
    """Returns the covariance `[..., n D, n D]` of flattened events, given those of D dimensions, `[..., n, n, D]`."""
    shape = ps.shape(within)
    size = shape[-1] * shape[-2]
    blocks = tf.einsum('...ijd,de->...idje', within, tf.eye(shape[-1], dtype=within.dtype))
    return tf.reshape(blocks, ps.concat([shape[:-3], [size, size]], 0))


def _swap(value):
    rank = value.shape.rank
    return tf.transpose(value, [*range(rank - 3), rank - 2, rank - 3, rank - 1])
