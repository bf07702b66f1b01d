"""What observations tell of vectors that share a few factors."""

import dataclasses

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions.steps import mix_steps

__all__ = ['FactorKnowledge', 'apply_loadings']


@dataclasses.dataclass(frozen=True)
class FactorKnowledge:
    """What the observations tell of vectors at other poses, in units of the residual's standard deviations.

    The loadings of q independent standard factors are `(own - weights seen) spread`. What they show of some factors
    takes a fraction of the time and memory that the loadings themselves take, `[..., m, D, q]`.

    Attributes:
        df: Degrees of freedom given the observations, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[...]`.
        mean: `[..., m, D]`.
        residual: Covariance of what the factors leave, between steps, `[..., G, m, m]`.
        own: Prior loadings at the poses, `[..., m, D, q]`.
        spread: Square root of the factors' covariance, `[..., q, q]`, or a number times the identity.
        weights: Of the whitened observations in the residual, `[..., G, m, n]`; `None` without observations.
        seen: Whitened loadings of the observations, `[..., n, D, q]`.
    """

    df: tf.Tensor | None
    inflation: tf.Tensor
    mean: tf.Tensor
    residual: tf.Tensor
    own: tf.Tensor
    spread: tf.Tensor | float
    weights: tf.Tensor | None = None
    seen: tf.Tensor | None = None

    @property
    def num_factors(self):
        """How many factors there are, q."""
        return ps.shape(self.own)[-1]

    def loadings(self):
        """Returns the loadings, `[..., m, D, q]`."""
        if self.weights is None:
            return self.spread * self.own
        left = self.own - mix_steps(self.weights, self.seen, 3)
        return tf.matmul(left, self.spread[..., tf.newaxis, :, :])

    def show(self, factors):
        """Returns what the loadings make of samples `[s, ..., q]` of factors: `[s, ..., m, D]`."""
        if self.weights is None:
            return apply_loadings(self.own, self.spread * factors)
        factors = _apply_matrix(self.spread, factors)
        return apply_loadings(self.own, factors) - mix_steps(self.weights, apply_loadings(self.seen, factors))


def apply_loadings(loadings, factors):
    """Returns what factors `[..., q]` show in steps with loadings `[..., n, D, q]`: `[..., n, D]`.

    Loadings `[n, D, q]` that are common to a batch take one matrix product, as do samples `[s, ..., q]` of factors.
    """
    if loadings.shape.rank == 3:
        shape = ps.shape(loadings)
        flat = tf.reshape(loadings, [-1, shape[-1]])
        shown = tf.matmul(tf.reshape(factors, [-1, shape[-1]]), flat, transpose_b=True)
        return tf.reshape(shown, ps.concat([ps.shape(factors)[:-1], shape[:-1]], 0))
    if factors.shape.rank == loadings.shape.rank - 1:
        return tf.einsum('...ndq,s...q->s...nd', loadings, factors)
    return tf.einsum('...ndq,...q->...nd', loadings, factors)


def _apply_matrix(matrix, samples):
    """Returns `[..., q, q]` times samples `[s, ..., q]`."""
    if matrix.shape.rank > 2:
        return tf.einsum('...rq,s...q->s...r', matrix, samples)
    flat = tf.matmul(tf.reshape(samples, [-1, ps.shape(matrix)[-1]]), matrix, transpose_b=True)
    return tf.reshape(flat, ps.shape(samples))
