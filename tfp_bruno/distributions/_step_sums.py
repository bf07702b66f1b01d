"""Sums over the steps of long sequences in time linear in their number."""

import typing

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['StepSums', 'sum_steps']

# Largest size of a block of steps, unless it would have too few steps: temporaries of this size stay in the processor's
# cache. Beyond 32 MiB the allocator maps new memory for each, which takes several times as long as the sums.
_BLOCK = 2**20
_FEWEST_STEPS = 64


class StepSums(typing.NamedTuple):
    """Sums over steps.

    Attributes:
        n: Number of steps that are not missing, scalar or `[..., 1]`.
        total: Sum of their deviations from `loc`, `[..., D]`.
        spread: Sum of their squared deviations from their mean, `[..., D]`.
    """

    n: tf.Tensor
    total: tf.Tensor
    spread: tf.Tensor

    @property
    def centre(self):
        """The mean of the deviations from `loc`, zero where all steps are missing."""
        return tf.math.divide_no_nan(self.total, self.n)


def sum_steps(value, loc, weights=None):
    """Returns the `StepSums` of vectors.

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
    blocks = [_sum_block(*each, loc) for each in zip(parts, part_weights, strict=True)]
    if len(blocks) == 1:
        return blocks[0]
    whole = StepSums(*(tf.add_n(list(each)) for each in zip(*blocks, strict=True)))
    between = [block.n * tf.math.squared_difference(block.centre, whole.centre) for block in blocks]
    return whole._replace(spread=whole.spread + tf.add_n(between))


def _block_sizes(shape):
    """Returns the numbers of steps of the blocks of vectors of a static shape `[..., n, D]`."""
    if not shape.is_fully_defined():
        return [None]
    steps = max(_FEWEST_STEPS, _BLOCK * shape[-2] // max(1, shape.num_elements()))
    return [min(steps, shape[-2] - start) for start in range(0, shape[-2], steps)]


def _sum_block(value, weights, loc):
    deviations = value - loc[..., tf.newaxis, :]
    if weights is None:
        n = tf.cast(ps.shape(value)[-2], value.dtype)
    else:
        n = tf.reduce_sum(weights, axis=-1)[..., tf.newaxis]
        weights = weights[..., tf.newaxis]
        # Not a product: a missing value may be NaN.
        deviations = tf.where(weights > 0.0, deviations, tf.zeros([], value.dtype))
    sums = StepSums(n, tf.reduce_sum(deviations, axis=-2), tf.zeros([], value.dtype))
    # Not `** 2`: a power that is not rewritten as a product takes several times longer.
    squares = tf.math.squared_difference(deviations, sums.centre[..., tf.newaxis, :])
    return sums._replace(spread=tf.reduce_sum(squares if weights is None else weights * squares, axis=-2))
