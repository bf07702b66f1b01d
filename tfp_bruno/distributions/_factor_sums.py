"""Sums over whitened loadings, computed block by block, so that memory holds one block of them at a time."""

import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._shapes import batch_of, flatten_batch, mix_steps

# Size of a block of loadings: temporaries of this size stay in the processor's cache. The fewest dimensions of a block
# and the largest number of blocks bound the overhead of starting operations.
_BLOCK = 2**21
_FEWEST_DIMENSIONS = 64
_MOST_BLOCKS = 64


def sum_whitened(
    table: tf.Tensor, rows: tf.Tensor, scale: tf.Tensor, whitener: tf.Tensor, errors: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the terms that m whitened steps add to the posterior of q factors.

    They are the precision `M^T M` `[..., q, q]` and `M^T E` `[..., q]`, where M are the loadings of n steps, in units
    of the standard deviations and whitened like the errors E. Sequences at common steps share one `M^T M`.

    Args:
        table: Loadings `[P, D, q]`.
        rows: Integers `[..., n]`, the rows of the table at the n steps.
        scale: Inverse standard deviations, `[..., D]`.
        whitener: `[..., G, m, n]`, for G groups of dimensions.
        errors: Whitened deviations, `[..., m, D]`.
    """
    shapes = [batch_of(rows, 1), batch_of(whitener, 3)]
    if scale.shape.rank > 1:
        shapes.append(batch_of(scale, 1))
    # The batch shape of the precisions; that of the errors may have more axes.
    batch = functools.reduce(ps.broadcast_shape, shapes)
    every = ps.broadcast_shape(batch, batch_of(errors, 2))
    if ps.rank_from_shape(batch) > 0:
        batch = every
    rows, whitener = flatten_batch(rows, 1, batch), flatten_batch(whitener, 3, batch)
    errors = flatten_batch(errors, 2, every)
    # One for all sequences is not repeated: products with it are faster.
    scale = flatten_batch(scale, 1, batch if scale.shape.rank > 1 else [1])
    residuals = mix_steps(tf.linalg.matrix_transpose(whitener), errors)
    precision, projected = sum_loadings(table, rows, scale, whitener, scale[:, tf.newaxis, :] * residuals)
    precision = tf.reshape(precision, ps.concat([batch, ps.shape(precision)[1:]], 0))
    return precision, tf.reshape(projected, ps.concat([every, ps.shape(projected)[1:]], 0))


@tf.custom_gradient
def sum_loadings(
    table: tf.Tensor, rows: tf.Tensor, scale: tf.Tensor, mixing: tf.Tensor, residuals: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
    """Returns `M^T M` and `L^T residuals`, where L are the rows of the table and `M = scale mixing L`.

    The gradient computes M again instead of keeping it, and takes one product of that size, since `M^T M` is symmetric.
    With respect to the table it is `tf.IndexedSlices`.

    Args:
        table: `[P, D, q]`, D static.
        rows: Integers `[B, n]`, the rows of the table at n steps.
        scale: `[B, D]` or `[1, D]`.
        mixing: `[B, G, m, n]`: m combinations of the steps for each of G groups of D / G neighbouring dimensions.
        residuals: `[B, n, D]`; any number of them where B of the others is 1.

    Returns:
        `[B, q, q]`, and `[B, q]` of the residuals' B.
    """
    dimension, groups = table.shape[1], mixing.shape[1]
    size = _block_size(table.shape, rows.shape, dimension // groups)
    blocks = [
        functools.partial(_block, table, rows, scale, mixing, residuals, start, size)
        for start in range(0, dimension, size)
    ]
    sums = [_sums(*block()) for block in blocks]

    def gradient(to_precision: tf.Tensor, to_projection: tf.Tensor) -> tuple:
        to_precision += tf.linalg.matrix_transpose(to_precision)
        arguments = [block() for block in blocks]
        to_residuals = [_to_residuals(part[0], part[3], to_projection) for part in arguments]
        parts = [_gradients(*part, to_precision, to_projection) for part in arguments]
        to_loadings, to_scale, to_mixing = zip(*parts, strict=True)
        each = len(blocks) // groups
        to_groups = [tf.add_n(to_mixing[start : start + each]) for start in range(0, len(blocks), each)]
        to_scale = tf.concat(to_scale, axis=-1)
        if scale.shape[0] == 1:
            to_scale = tf.reduce_sum(to_scale, axis=0, keepdims=True)
        values = tf.concat(to_loadings, axis=2)
        values = tf.reshape(values, ps.concat([[-1], ps.shape(table)[1:]], 0))
        to_table = tf.IndexedSlices(values, tf.reshape(rows, [-1]), tf.shape(table, out_type=rows.dtype))
        return to_table, None, to_scale, tf.stack(to_groups, axis=1), tf.concat(to_residuals, axis=-1)

    return tuple(tf.add_n(each) for each in zip(*sums, strict=True)), gradient


def _block_size(table: tf.TensorShape, rows: tf.TensorShape, most: int) -> int:
    """Returns how many dimensions a block has, a divisor of `most`, given the static shapes of table and rows."""
    # Sizes that are not static count as ten.
    each = math.prod(size or 10 for size in (*rows, table[-1]))
    wanted = min(most, max(_FEWEST_DIMENSIONS, table[1] // _MOST_BLOCKS, _BLOCK // each))
    size = max(size for size in range(1, wanted + 1) if most % size == 0)
    # One block where `most` has no suitable divisor.
    return size if 8 * size >= wanted else most


def _block(
    table: tf.Tensor,
    rows: tf.Tensor,
    scale: tf.Tensor,
    mixing: tf.Tensor,
    residuals: tf.Tensor,
    start: int,
    size: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns loadings `[B, n, size, q]`, scale `[.., 1, size, 1]`, mixing `[B, m, n]` and residuals `[B, n, size]`."""
    dimension, factors = table.shape[1], ps.shape(table)[2]
    # So that each copied part of a row is contiguous.
    by_block = tf.reshape(table, [-1, size * factors])
    loadings = tf.gather(by_block, rows * (dimension // size) + start // size)
    loadings = tf.reshape(loadings, ps.concat([ps.shape(rows), [size, factors]], 0))
    dimensions = slice(start, start + size)
    group = start * mixing.shape[1] // dimension
    return loadings, scale[:, tf.newaxis, dimensions, tf.newaxis], mixing[:, group], residuals[..., dimensions]


# A `tf.function`, like the next: all blocks of one size share a trace.
@tf.function(autograph=False)
def _sums(
    loadings: tf.Tensor, scale: tf.Tensor, mixing: tf.Tensor, residuals: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    mixed = _merge(scale * _mix(mixing, loadings), 1)
    flat, residuals = _merge(loadings, 1), _merge(residuals, 1)
    if flat.shape[0] == 1:
        projection = tf.matmul(residuals, flat[0])
    else:
        projection = tf.linalg.matvec(flat, residuals, transpose_a=True)
    return _matmul(mixed, mixed, transpose_a=True), projection


@tf.function(autograph=False)
def _gradients(
    loadings: tf.Tensor,
    scale: tf.Tensor,
    mixing: tf.Tensor,
    residuals: tf.Tensor,
    to_precision: tf.Tensor,
    to_projection: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the gradients with respect to loadings, scale and mixing.

    The gradient with respect to `residuals` is `_to_residuals`: it takes no product of this size, and where it alone is
    needed, none is computed.

    Args:
        loadings: `[B, n, size, q]`, and the next three as `_block` returns them.
        scale: `[.., 1, size, 1]`.
        mixing: `[B, m, n]`.
        residuals: `[B, n, size]`.
        to_precision: Gradient with respect to the precision, plus its transpose, `[B, q, q]`.
        to_projection: Gradient with respect to the projection, `[B, q]`.
    """
    mixed = _mix(mixing, loadings)
    to_scaled = tf.reshape(tf.matmul(_merge(mixed, 1), to_precision), ps.shape(mixed))
    # One axis after the other: one sum over axes that are not adjacent takes three times as long.
    to_scale = scale[:, 0, :, 0] * tf.reduce_sum(tf.reduce_sum(to_scaled * mixed, axis=-1), axis=1)
    to_mixed = tf.square(scale) * to_scaled
    to_mixing = _matmul(_merge(to_mixed, 2), _merge(loadings, 2), transpose_b=True)
    to_loadings = _mix(tf.linalg.matrix_transpose(mixing), to_mixed)
    if loadings.shape[0] == 1:
        to_flat = tf.matmul(_merge(residuals, 1), to_projection, transpose_a=True)
        to_loadings += tf.reshape(to_flat, ps.shape(loadings))
    else:
        to_loadings += residuals[..., tf.newaxis] * to_projection[:, tf.newaxis, tf.newaxis, :]
    return to_loadings, to_scale, to_mixing


def _to_residuals(loadings: tf.Tensor, residuals: tf.Tensor, to_projection: tf.Tensor) -> tf.Tensor:
    """Returns the gradient with respect to `residuals`."""
    flat = _merge(loadings, 1)
    if flat.shape[0] == 1:
        return tf.reshape(tf.matmul(to_projection, flat[0], transpose_b=True), ps.shape(residuals))
    return tf.reshape(tf.linalg.matvec(flat, to_projection), ps.shape(residuals))


def _mix(matrix: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Applies `[B, m, n]` over the steps of `[B, n, size, q]`."""
    mixed = tf.matmul(matrix, _merge(value, 2))
    return tf.reshape(mixed, ps.concat([ps.shape(mixed)[:-1], ps.shape(value)[2:]], 0))


def _merge(value: tf.Tensor, axis: int) -> tf.Tensor:
    """Merges an axis with the next."""
    shape = ps.shape(value)
    return tf.reshape(value, ps.concat([shape[:axis], [shape[axis] * shape[axis + 1]], shape[axis + 2 :]], 0))


def _matmul(first: tf.Tensor, second: tf.Tensor, **kwargs: Any) -> tf.Tensor:
    """Returns `tf.matmul` of batches, one after the other: on CPUs, long sums are up to twice as fast that way."""
    if first.shape[0] is None:
        return tf.matmul(first, second, **kwargs)
    pairs = zip(tf.unstack(first), tf.unstack(second), strict=True)
    return tf.stack([tf.matmul(*pair, **kwargs) for pair in pairs])
