"""Sufficient statistics of exchangeable vectors: sums over the steps, stable and in memory of one block of steps."""

import typing

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._shapes import zero_missing

# Largest size of a block of steps, unless it would have too few steps: temporaries of this size stay in the processor's
# cache. Beyond 32 MiB the allocator maps new memory for each, which takes several times as long as the sums.
_BLOCK = 2**20
_FEWEST_STEPS = 64


class SufficientStatistics(typing.NamedTuple):
    """Number, sum and sum of squares of the vectors of a sequence.

    Attributes:
        n: Number of steps that are not missing, scalar or `[..., 1]`.
        total: Sum of their deviations from `loc`, `[..., D]`.
        spread: Sum of their squared deviations from their own mean, `[..., D]`.
    """

    n: tf.Tensor
    total: tf.Tensor
    spread: tf.Tensor

    @property
    def centre(self) -> tf.Tensor:
        """Mean of the deviations from `loc`, zero where all steps are missing."""
        return tf.math.divide_no_nan(self.total, self.n)


def sufficient_statistics(value: tf.Tensor, loc: tf.Tensor, weights: tf.Tensor | None = None) -> SufficientStatistics:
    """Returns the sufficient statistics of vectors.

    Sums of blocks are merged as in the analysis of variance, within and between blocks (Chan, Golub, LeVeque, 1983).
    Vectors whose shape is not static make one block.

    Args:
        value: `[..., n, D]`.
        loc: Origin of the deviations, `[..., D]`.
        weights: `[..., n]`, 0 where a step is missing and 1 elsewhere, or `None`.
    """
    parts, part_weights = [value], [weights]
    sizes = _block_sizes(value.shape)
    if len(sizes) > 1:
        parts = tf.split(value, sizes, axis=-2)
        part_weights = [None] * len(sizes) if weights is None else tf.split(weights, sizes, axis=-1)
    blocks = [_of_block(*each, loc) for each in zip(parts, part_weights, strict=True)]
    if len(blocks) == 1:
        return blocks[0]
    whole = SufficientStatistics(*(tf.add_n(list(each)) for each in zip(*blocks, strict=True)))
    between = [block.n * tf.math.squared_difference(block.centre, whole.centre) for block in blocks]
    return whole._replace(spread=whole.spread + tf.add_n(between))


def _block_sizes(shape: tf.TensorShape) -> list[int | None]:
    """Returns the number of steps of each block of vectors of shape `[..., n, D]`; one block where it is not static."""
    if not shape.is_fully_defined():
        return [None]
    steps = max(_FEWEST_STEPS, _BLOCK * shape[-2] // max(1, shape.num_elements()))
    return [min(steps, shape[-2] - start) for start in range(0, shape[-2], steps)]


def _of_block(value: tf.Tensor, weights: tf.Tensor | None, loc: tf.Tensor) -> SufficientStatistics:
    deviations = value - loc[..., tf.newaxis, :]
    if weights is None:
        n = tf.cast(ps.shape(value)[-2], value.dtype)
    else:
        n = tf.reduce_sum(weights, axis=-1)[..., tf.newaxis]
        deviations = zero_missing(deviations, weights)
    sums = SufficientStatistics(n, tf.reduce_sum(deviations, axis=-2), tf.zeros([], value.dtype))
    # Not `** 2`: a power that is not rewritten as a product takes several times longer.
    squares = tf.math.squared_difference(deviations, sums.centre[..., tf.newaxis, :])
    return sums._replace(
        spread=tf.reduce_sum(squares if weights is None else weights[..., tf.newaxis] * squares, axis=-2)
    )
