"""Posterior and predictive moments of factors that all steps share, in units of the residual's standard deviations."""

import dataclasses
import typing
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._loadings import LoadingsAtPoses, ResidualLoadings
from tfp_bruno.distributions._shapes import (
    block_covariance,
    expand_groups,
    expand_matrices,
    eye_like,
    mix_steps,
    steps_first,
)


class Energy(typing.NamedTuple):
    """Terms of the density of n numbers: n, `beta` and log|K|, each `[...]` (or `[..., n]`, of each step)."""

    n: tf.Tensor
    beta: tf.Tensor
    log_det: tf.Tensor


@dataclasses.dataclass(frozen=True)
class PredictiveMoments:
    """Moments of vectors at some poses given the observations, in units of the residual's standard deviations.

    Attributes:
        df: Degrees of freedom, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[...]`.
        mean: `[..., m, D]`.
        residual: float64 covariance of the residual between steps, `[..., G, m, m]`.
        residual_loadings: Loadings of the factors.
        factor_root: Square root of the factors' covariance, `[..., q, q]`, or a number times the identity.
    """

    df: tf.Tensor | None
    inflation: tf.Tensor
    mean: tf.Tensor
    residual: tf.Tensor
    residual_loadings: ResidualLoadings
    factor_root: tf.Tensor | float

    @property
    def num_factors(self) -> int | tf.Tensor:
        """Number of factors, q."""
        return ps.shape(self.residual_loadings.own)[-1]

    @property
    def step_df(self) -> tf.Tensor | None:
        """Degrees of freedom of each step, `[..., 1]`, or `None`."""
        return None if self.df is None else self.df[..., tf.newaxis]

    def loadings(self) -> tf.Tensor:
        """Returns the loadings of independent standard factors, `[..., m, D, q]`."""
        if isinstance(self.factor_root, float):
            return self.factor_root * self.residual_loadings.matrix()
        return tf.matmul(self.residual_loadings.matrix(), self.factor_root[..., tf.newaxis, :, :])

    def apply(self, factors: tf.Tensor) -> tf.Tensor:
        """Returns the product of those loadings with samples `[s, ..., q]` of factors: `[s, ..., m, D]`."""
        if isinstance(self.factor_root, float):
            return self.residual_loadings.apply(self.factor_root * factors)
        return self.residual_loadings.apply(_apply_matrix(self.factor_root, factors))

    def step_residual(self) -> tf.Tensor:
        """Returns the residual's variance at each step, `[..., m, D]` (or `[..., m, 1]`)."""
        variance = tf.cast(tf.linalg.diag_part(self.residual), self.mean.dtype)
        return expand_groups(variance, self.residual_loadings.own.shape[-2])

    def step_terms(self, errors: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns log|K| of each step on its own, and `beta` of its deviations, each `[..., m]`.

        Args:
            errors: Deviations from the mean, `[..., m, D]`; `None`: zero.
        """
        own = self.step_residual()
        loadings = self.loadings() * tf.math.rsqrt(own)[..., tf.newaxis]
        precision = tf.matmul(loadings, loadings, transpose_a=True)
        beta, projected = tf.zeros([], own.dtype), tf.zeros_like(precision[..., 0])
        if errors is not None:
            errors *= tf.math.rsqrt(own)
            beta = tf.reduce_sum(tf.square(errors), -1)
            projected = tf.linalg.matvec(loadings, errors, transpose_a=True)
        log_det, explained = _factor_terms(precision, projected)
        dimension = tf.cast(ps.shape(loadings)[-2], own.dtype)
        inflation = self.inflation[..., tf.newaxis]
        log_variance = tf.reduce_mean(tf.math.log(own), -1) + tf.math.log(inflation)
        return log_det + dimension * log_variance, (beta - explained) / inflation

    def variance(self) -> tf.Tensor:
        """Returns the variance, `[..., m, D]`."""
        relative = tf.reduce_sum(tf.square(self.loadings()), axis=-1) + self.step_residual()
        return self.inflation[..., tf.newaxis, tf.newaxis] * relative

    def covariance(self, independent_steps: bool) -> tf.Tensor:
        """Returns the covariance of the flattened event, `[..., m D, m D]`, zero between independent steps."""
        loadings = self.loadings()
        shape = ps.shape(loadings)
        flat = tf.reshape(loadings, ps.concat([shape[:-3], [shape[-3] * shape[-2]], shape[-1:]], 0))
        by_factors = tf.matmul(flat, flat, transpose_b=True)
        dimension = self.residual_loadings.own.shape[-2]
        within = steps_first(expand_matrices(tf.cast(self.residual, loadings.dtype), dimension))
        if independent_steps:
            identity = tf.eye(shape[-3], dtype=loadings.dtype)
            within *= identity[..., tf.newaxis]
            by_factors *= tf.repeat(tf.repeat(identity, shape[-2], axis=0), shape[-2], axis=1)
        return self.inflation[..., tf.newaxis, tf.newaxis] * (by_factors + block_covariance(within))


class Conditioning(typing.NamedTuple):
    """Terms of conditioning on observations that do not depend on the poses of a prediction.

    Attributes:
        poses: `[..., n, P]`.
        weights: `[..., n]`, or `None`.
        loadings: Loadings at the poses.
        whitener: float64 inverse of the Cholesky factor of the residual's correlation, `[..., G, n, n]`.
        errors: Whitened deviations from the mean, `[..., n, D]`.
        precision: Posterior precision of the factors, less that of the prior, `[..., q, q]`.
        projected: Product of the whitened loadings with the errors, `[..., q]`: `(I + precision)` times the posterior
            mean of the factors.
    """

    poses: tf.Tensor
    weights: tf.Tensor | None
    loadings: LoadingsAtPoses
    whitener: tf.Tensor
    errors: tf.Tensor
    precision: tf.Tensor
    projected: tf.Tensor

    def predict(
        self, prior: PredictiveMoments, cross: tf.Tensor, factor_scale: float = 1.0, factor_evidence: float = 1.0
    ) -> PredictiveMoments:
        """Returns the moments given the observations.

        Args:
            prior: Moments without observations.
            cross: Correlation of the residual between the observed steps and the others, `[..., G, n, m]`.
            factor_scale: Factor of the factors' prior standard deviations in their covariance.
            factor_evidence: Weight of the observations in the factors' covariance.
        """
        dtype = self.errors.dtype
        precision_factor = tf.linalg.cholesky(self.precision + eye_like(self.precision))
        factors_mean = _cholesky_solve(precision_factor, self.projected)
        # The factors are mean + C^-T e, e standard, where C is the Cholesky factor of their precision.
        root = precision_factor
        if (factor_scale, factor_evidence) != (1.0, 1.0):
            root = tf.linalg.cholesky(factor_evidence * self.precision + factor_scale**-2 * eye_like(self.precision))
        inverse = tf.linalg.triangular_solve(root, tf.broadcast_to(eye_like(self.precision), ps.shape(root)))
        if self.weights is not None:
            cross *= self.weights[..., tf.newaxis, :, tf.newaxis]
        of_whitened = tf.linalg.matrix_transpose(tf.matmul(self.whitener, tf.cast(cross, tf.float64)))
        kriging = tf.cast(tf.matmul(of_whitened, self.whitener), dtype)
        loadings = dataclasses.replace(prior.residual_loadings, weights=kriging, observed=self.loadings.gather())
        df, inflation = None, prior.inflation
        if prior.df is not None:
            each = tf.ones(ps.shape(self.errors)[-2:-1], dtype) if self.weights is None else self.weights
            n = tf.cast(ps.shape(self.errors)[-1], dtype) * tf.reduce_sum(each, -1)
            beta = tf.reduce_sum(tf.square(self.errors), [-2, -1]) - tf.reduce_sum(self.projected * factors_mean, -1)
            df, inflation = prior.df + n, radial.predictive_scale(beta, n, prior.df)
        return PredictiveMoments(
            df=df,
            inflation=inflation,
            # The residual is kriged from the observations less the part that the factors' mean explains.
            mean=mix_steps(tf.cast(of_whitened, dtype), self.errors) + loadings.apply(factors_mean),
            residual=prior.residual - tf.matmul(of_whitened, of_whitened, transpose_b=True),
            residual_loadings=loadings,
            factor_root=tf.linalg.matrix_transpose(inverse),
        )


def integrate_factors(
    steps: Energy, added: tuple[tf.Tensor, tf.Tensor], given: Conditioning | None
) -> tuple[Energy, Energy]:
    """Returns the energy of the observations, and that of all steps, with the factors integrated out.

    Args:
        steps: Energy of each whitened step, observations first, under the residual alone, `[..., n]`.
        added: Terms of the steps after the observations, see `sum_whitened`.
        given: Terms of the observations, or `None`.
    """
    if given is None:
        zero = tf.zeros([], steps.beta.dtype)
        return Energy(zero, zero, zero), _integrate(steps, *added)
    before = given.precision, given.projected
    whole = [old + new for old, new in zip(before, added, strict=True)]
    num_observed = ps.shape(given.errors)[-2]
    observed = Energy(*(part[..., :num_observed] for part in steps))
    return _integrate(observed, *before), _integrate(steps, *whole)


def _integrate(steps: Energy, precision: tf.Tensor, projected: tf.Tensor) -> Energy:
    log_det, explained = _factor_terms(precision, projected)
    n, beta, step_log_det = (tf.reduce_sum(part, -1) for part in steps)
    return Energy(n, beta - explained, step_log_det + log_det)


def _factor_terms(precision: tf.Tensor, projected: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns log|P| and `u^T P^-1 u`, where P = I + `precision`.

    Args:
        precision: `[..., q, q]`, or `[q, q]` for a batch of u.
        projected: u, `[..., q]`.
    """
    factor = tf.linalg.cholesky(precision + eye_like(precision))
    log_det = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), -1)
    return log_det, tf.reduce_sum(tf.square(_solve(tf.linalg.triangular_solve, factor, projected)), -1)


def _cholesky_solve(factor: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Returns the solutions `[..., q]` of the system of a Cholesky factor `[..., q, q]`, or `[q, q]` for a batch."""
    return _solve(tf.linalg.cholesky_solve, factor, vectors)


def _solve(solve: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], factor: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    if factor.shape.rank > 2:
        return solve(factor, vectors[..., tf.newaxis])[..., 0]
    columns = tf.transpose(tf.reshape(vectors, [-1, ps.shape(factor)[-1]]))
    return tf.reshape(tf.transpose(solve(factor, columns)), ps.shape(vectors))


def _apply_matrix(matrix: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Returns `[..., q, q]` times samples `[s, ..., q]`."""
    if matrix.shape.rank > 2:
        return tf.einsum('...rq,s...q->s...r', matrix, samples)
    flat = tf.matmul(tf.reshape(samples, [-1, ps.shape(matrix)[-1]]), matrix, transpose_b=True)
    return tf.reshape(flat, ps.shape(samples))
