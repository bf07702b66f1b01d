"""What observations tell of vectors that share a few factors."""

import dataclasses

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions.steps import mix_steps

__all__ = ['FactorKnowledge', 'LoadingsLeft']


@dataclasses.dataclass(frozen=True)
class LoadingsLeft:
    """What factors show at some poses, beside what is kriged from what they show where there are observations.

    Loadings `own - weights seen`, in units of the residual's standard deviations. What they make of some factors takes
    a fraction of the time and memory that they take themselves, `[..., m, D, q]`.

    Attributes:
        own: Loadings at the poses, `[..., m, D, q]`.
        scale: The standard deviations, `[..., 1, D]`.
        weights: Of the observations in the kriged residual, `[..., G, m, n]`; `None` without observations.
        seen: Loadings at the observations, `[..., n, D, q]`.
    """

    own: tf.Tensor
    scale: tf.Tensor
    weights: tf.Tensor | None = None
    seen: tf.Tensor | None = None

    def apply(self, factors):
        """Returns what they make of factors `[..., q]`, or samples `[s, ..., q]` of them: `[..., m, D]`."""
        shown = _apply_loadings(self.own, factors) / self.scale
        if self.weights is None:
            return shown
        return shown - mix_steps(self.weights, _apply_loadings(self.seen, factors) / self.scale)

    def matrix(self):
        """Returns them, `[..., m, D, q]`."""
        scale = self.scale[..., tf.newaxis]
        if self.weights is None:
            return self.own / scale
        return self.own / scale - mix_steps(self.weights, self.seen / scale, 3)


@dataclasses.dataclass(frozen=True)
class FactorKnowledge:
    """What the observations tell of vectors at other poses, in units of the residual's standard deviations.

    Attributes:
        df: Degrees of freedom given the observations, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[...]`.
        mean: `[..., m, D]`.
        residual: Covariance of what the factors leave, between steps, `[..., G, m, m]`.
        left: The `LoadingsLeft`.
        spread: Square root of the factors' covariance, `[..., q, q]`, or a number times the identity.
    """

    df: tf.Tensor | None
    inflation: tf.Tensor
    mean: tf.Tensor
    residual: tf.Tensor
    left: LoadingsLeft
    spread: tf.Tensor | float

    @property
    def num_factors(self):
        """How many factors there are, q."""
        return ps.shape(self.left.own)[-1]

    def loadings(self):
        """Returns the loadings of independent standard factors, `[..., m, D, q]`."""
        if isinstance(self.spread, float):
            return self.spread * self.left.matrix()
        return tf.matmul(self.left.matrix(), self.spread[..., tf.newaxis, :, :])

    def show(self, factors):
        """Returns what those loadings make of samples `[s, ..., q]` of factors: `[s, ..., m, D]`."""
        if isinstance(self.spread, float):
            return self.left.apply(self.spread * factors)
        return self.left.apply(_apply_matrix(self.spread, factors))


def _apply_loadings(loadings, factors):
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
