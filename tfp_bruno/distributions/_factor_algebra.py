"""Algebra of a few factors that all vectors of a sequence share, in units of the residual's standard deviations."""

import dataclasses
import typing

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._steps import mix_steps

__all__ = [
    'Conditioning',
    'Energy',
    'PredictiveMoments',
    'ResidualLoadings',
    'cholesky_solve',
    'eye_like',
    'factor_terms',
]


class Energy(typing.NamedTuple):
    """Terms of the density of n numbers: n, `beta` and log|K|, each `[...]`."""

    n: tf.Tensor
    beta: tf.Tensor
    log_det: tf.Tensor


class Conditioning(typing.NamedTuple):
    """Terms of conditioning on the observations that do not depend on the poses of a prediction.

    Attributes:
        poses: `[..., n, P]`.
        weights: `[..., n]`, or `None`.
        table_and_rows: Their loadings, see `FactorProcess._table_and_rows`.
        whitener: float64 inverse of the Cholesky factor of the residual's correlation, `[..., G, n, n]`.
        errors: Whitened deviations from the mean, `[..., n, D]`.
        precision: Posterior precision of the factors, less that of the prior, `[..., q, q]`.
        projected: Product of the whitened loadings with the errors, `[..., q]`: `(I + precision)` times the posterior
            mean of the factors.
    """

    poses: tf.Tensor
    weights: tf.Tensor | None
    table_and_rows: tuple[tf.Tensor, tf.Tensor]
    whitener: tf.Tensor
    errors: tf.Tensor
    precision: tf.Tensor
    projected: tf.Tensor


@dataclasses.dataclass(frozen=True)
class ResidualLoadings:
    """Loadings at some poses, less the kriging of the loadings at the observed poses: `own - weights observed`.

    To apply them to factors takes a fraction of the time and memory of the loadings themselves, `[..., m, D, q]`.

    Attributes:
        own: Loadings at the poses, `[..., m, D, q]`.
        scale: The residual's standard deviations, `[..., 1, D]`.
        weights: Kriging weights of the observations, `[..., G, m, n]`; `None` without observations.
        observed: Loadings at the observed poses, `[..., n, D, q]`.
    """

    own: tf.Tensor
    scale: tf.Tensor
    weights: tf.Tensor | None = None
    observed: tf.Tensor | None = None

    def apply(self, factors):
        """Returns their product with factors `[..., q]`, or samples `[s, ..., q]` of them: `[..., m, D]`."""
        product = _apply_loadings(self.own, factors) / self.scale
        if self.weights is None:
            return product
        return product - mix_steps(self.weights, _apply_loadings(self.observed, factors) / self.scale)

    def matrix(self):
        """Returns the loadings, `[..., m, D, q]`."""
        scale = self.scale[..., tf.newaxis]
        if self.weights is None:
            return self.own / scale
        return self.own / scale - mix_steps(self.weights, self.observed / scale, 3)


@dataclasses.dataclass(frozen=True)
class PredictiveMoments:
    """Moments of vectors at some poses given the observations, in units of the residual's standard deviations.

    Attributes:
        df: Degrees of freedom, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[...]`.
        mean: `[..., m, D]`.
        residual: float64 covariance of the residual between steps, `[..., G, m, m]`.
        residual_loadings: The `ResidualLoadings`.
        factor_root: Square root of the factors' covariance, `[..., q, q]`, or a number times the identity.
    """

    df: tf.Tensor | None
    inflation: tf.Tensor
    mean: tf.Tensor
    residual: tf.Tensor
    residual_loadings: ResidualLoadings
    factor_root: tf.Tensor | float

    @property
    def num_factors(self):
        """Number of factors, q."""
        return ps.shape(self.residual_loadings.own)[-1]

    def loadings(self):
        """Returns the loadings of independent standard factors, `[..., m, D, q]`."""
        if isinstance(self.factor_root, float):
            return self.factor_root * self.residual_loadings.matrix()
        return tf.matmul(self.residual_loadings.matrix(), self.factor_root[..., tf.newaxis, :, :])

    def apply(self, factors):
        """Returns the product of those loadings with samples `[s, ..., q]` of factors: `[s, ..., m, D]`."""
        if isinstance(self.factor_root, float):
            return self.residual_loadings.apply(self.factor_root * factors)
        return self.residual_loadings.apply(_apply_matrix(self.factor_root, factors))


def factor_terms(precision, projected):
    """Returns log|P| and `u^T P^-1 u`, where P = I + `precision`.

    Args:
        precision: `[..., q, q]`, or `[q, q]` for a batch of u.
        projected: u, `[..., q]`.
    """
    factor = tf.linalg.cholesky(precision + eye_like(precision))
    log_det = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), -1)
    return log_det, tf.reduce_sum(tf.square(_solve(tf.linalg.triangular_solve, factor, projected)), -1)


def cholesky_solve(factor, vectors):
    """Returns the solutions `[..., q]` of the system of a Cholesky factor `[..., q, q]`, or `[q, q]` for a batch."""
    return _solve(tf.linalg.cholesky_solve, factor, vectors)


def eye_like(matrix):
    """Returns the identity of the size and dtype of a matrix `[..., q, q]`."""
    return tf.eye(ps.shape(matrix)[-1], dtype=matrix.dtype)


def _solve(solve, factor, vectors):
    if factor.shape.rank > 2:
        return solve(factor, vectors[..., tf.newaxis])[..., 0]
    columns = tf.transpose(tf.reshape(vectors, [-1, ps.shape(factor)[-1]]))
    return tf.reshape(tf.transpose(solve(factor, columns)), ps.shape(vectors))


def _apply_loadings(loadings, factors):
    """Returns loadings `[..., n, D, q]` times factors `[..., q]`: `[..., n, D]`.

    Loadings `[n, D, q]` that are common to a batch take one matrix product, as do samples `[s, ..., q]` of factors.
    """
    if loadings.shape.rank == 3:
        shape = ps.shape(loadings)
        flat = tf.reshape(loadings, [-1, shape[-1]])
        product = tf.matmul(tf.reshape(factors, [-1, shape[-1]]), flat, transpose_b=True)
        return tf.reshape(product, ps.concat([ps.shape(factors)[:-1], shape[:-1]], 0))
    if factors.shape.rank == loadings.shape.rank - 1:
        return tf.einsum('...ndq,s...q->s...nd', loadings, factors)
    return tf.einsum('...ndq,...q->...nd', loadings, factors)


def _apply_matrix(matrix, samples):
    """Returns `[..., q, q]` times samples `[s, ..., q]`."""
    if matrix.shape.rank > 2:
        return tf.einsum('...rq,s...q->s...r', matrix, samples)
    flat = tf.matmul(tf.reshape(samples, [-1, ps.shape(matrix)[-1]]), matrix, transpose_b=True)
    return tf.reshape(flat, ps.shape(samples))
