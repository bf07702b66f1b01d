"""Processes with factors that all vectors of a sequence share, beside a residual that is correlated over poses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties, samplers
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.math import psd_kernels

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._factor_posterior import Conditioning, Energy, PredictiveMoments, integrate_factors
from tfp_bruno.distributions._factor_sums import sum_whitened
from tfp_bruno.distributions._loadings import LoadingsAtPoses, ResidualLoadings, loadings_at, unknown_loadings
from tfp_bruno.distributions._parameters import NO_BATCH, parameter, per_group, vector
from tfp_bruno.distributions._pose_dependence import PoseDependence
from tfp_bruno.distributions._shapes import TensorLike, broadcast_batch, eye_like, mix_steps, zero_missing
from tfp_bruno.distributions.base import Process
from tfp_bruno.distributions.fitting import fit_factor_moments
from tfp_bruno.distributions.kernels import PoseTable, slice_kernel


class FactorProcess(PoseDependence, Process):
    """`z_i = loc + L(v_i) h + r_i`: q factors h of the subject, and a residual that is correlated over poses.

    A Cholesky factor of the residual's correlation whitens one step after the other, so the first steps' quantities are
    those of the first steps alone; the factors are then integrated out by the matrix inversion lemma, in `O(n D q (n +
    q))`. For many sequences at the same poses `[n, P]`, terms that do not depend on their values are computed once.
    Matrices over the steps are float64: conditional variances are differences of nearly equal numbers where the
    correlation is near 1.
    """

    # The correlations belong to groups of dimensions, and the degrees of freedom to all dimensions.
    _dimension_names = ('loc', 'residual_variance')
    _group_names = ('constant_share', 'correlation')
    _keeps_common_poses = True

    def __init__(
        self,
        loc: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        loadings: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        residual_variance: TensorLike,
        correlation: TensorLike,
        kernel: psd_kernels.PositiveSemidefiniteKernel,
        constant_share: TensorLike = 0.0,
        num_steps: TensorLike | None = None,
        poses: TensorLike | None = None,
        observations: TensorLike | None = None,
        observed_poses: TensorLike | None = None,
        observations_is_missing: TensorLike | None = None,
        jitter: float | None = None,
        independent_targets: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str | None = None,
    ) -> None:
        """Constructs the process from the arguments of `PoseGaussianProcess`, but for three.

        `loadings` are `[P, D, q]`, of which one-hot poses choose rows, or a callable that maps poses `[..., n, P]` of
        any kind to `[..., n, D, q]`. `residual_variance` is the variance of the residual, positive, `[B1, ..., Bb, D]`.
        `correlation` is that of the residual between two vectors at the same pose, in [0, 1), scalar or `[..., G]`.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        return {
            'residual_variance': parameter('residual_variance', dtype),
            'correlation': parameter('correlation', dtype, per_group),
            'loadings': parameter_properties.ParameterProperties(event_ndims=NO_BATCH, shape_fn=unknown_loadings),
            **cls._pose_parameter_properties(dtype),
        }

    @classmethod
    def from_samples(
        cls, samples: np.ndarray, num_factors: int, num_steps: TensorLike | None = None, **kwargs: Any
    ) -> FactorProcess:
        """Returns a process over one-hot poses, fitted in closed form to samples.

        The mean of each pose becomes `loc`; the other parameters are those of `fit`.

        Args:
            samples: `[S, K, D]`: S >= 3 subjects with a vector at each of K >= 3 neighbouring poses.
            num_factors: Number of factors, q.
            num_steps: Number of steps of an event; `None`: K unless `poses` are given.
            **kwargs: Further arguments of the constructor, which replace fitted ones.

        Returns:
            A process of this class for poses `[..., n, K]`.
        """
        samples = np.asarray(samples, np.float32)
        mean = samples.mean(axis=0)
        moments = fit_factor_moments(samples - mean, num_factors)
        fitted = {
            'loc': PoseTable(mean),
            'loadings': moments.loadings,
            'residual_variance': moments.variance.astype(np.float32),
            'correlation': np.float32(moments.correlation),
            'kernel': slice_kernel(np.float32(moments.length), samples.shape[1]),
            'num_steps': samples.shape[1] if num_steps is None and 'poses' not in kwargs else num_steps,
        }
        if 'df' in cls._parameter_properties(tf.float32):
            fitted['df'] = np.float32(moments.df)
        return cls(**{**fitted, **kwargs})

    def fit(
        self,
        samples: np.ndarray,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        subjects: np.ndarray | None = None,
        inflation: float = 1.0,
    ) -> None:
        """Fits the variables of the process, in closed form.

        The first three arguments are those of `fit_factor_moments`, for samples less `loc`. `inflation` is a factor of
        the residual's variance.
        """
        kernel = self.kernel.kernel
        moments = fit_factor_moments(samples, self._loadings.shape[-1], transform, type(kernel), subjects)
        self._loadings.assign(moments.loadings)
        self.residual_variance.assign(inflation * moments.variance)
        self.correlation.assign(moments.correlation)
        kernel.length_scale.assign(moments.length)
        if hasattr(self, 'df'):
            self.df.assign(moments.df)

    @property
    def loadings(self) -> tf.Tensor | Callable[[tf.Tensor], tf.Tensor]:
        """Loadings of the factors: `[P, D, q]`, or a callable of poses."""
        return self._loadings

    @property
    def residual_variance(self) -> tf.Tensor:
        """Variance of the residual."""
        return self._residual_variance

    @property
    def correlation(self) -> tf.Tensor:
        """Correlation of the residual between steps at the same pose."""
        return self._correlation

    def _check_shapes(self) -> None:
        super()._check_shapes()
        self._check_kernel()
        if callable(self._loadings):
            return
        shape = self._loadings.shape
        if shape.rank != 3 or not shape[1:2].is_compatible_with(self._dimension()):
            raise ValueError(
                f'{self.name}: `loadings` {shape} must have shape [P, D, q], where D = {self._dimension()[0]} is that '
                f'of `residual_variance` {self._residual_variance.shape}.'
            )

    @property
    def _pose_size(self) -> int | None:
        return super()._pose_size if callable(self._loadings) else self._loadings.shape[0]

    def _degrees(self) -> tf.Tensor | None:
        """Returns the degrees of freedom, `[...]`, or `None` of a Gaussian."""
        df = getattr(self, '_df', None)
        return None if df is None else tf.convert_to_tensor(df)

    def _variance_of_residual(self) -> tf.Tensor:
        """Returns the residual's variance of every dimension, `[..., D]`."""
        variance = vector(self._residual_variance)
        return tf.broadcast_to(variance, ps.concat([ps.shape(variance)[:-1], self._dimension_tensor()], 0))

    def _deviation_scale(self) -> tf.Tensor:
        """Returns the residual's standard deviations, `[..., 1, D]`."""
        return tf.sqrt(vector(self._residual_variance))[..., tf.newaxis, :]

    def _loadings_at(self, poses: tf.Tensor) -> LoadingsAtPoses:
        return loadings_at(self.name, self._loadings, poses, self._dimension(), self.validate_args)

    def _residual_correlation(self, poses: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Returns R between poses `[..., n, P]`, float64 `[..., G, n, n]`."""
        correlation = vector(self._correlation)[..., tf.newaxis, tf.newaxis]
        noise = tf.cast(self._noise_share(correlation), tf.float64)
        similarity = tf.cast(self._own_similarity(poses, weights), tf.float64)
        return tf.cast(correlation, tf.float64) * similarity + noise * eye_like(similarity)

    def _cholesky(self, correlation: tf.Tensor) -> tf.Tensor:
        """Returns the Cholesky factor of R; an error where it has none."""
        factor = tf.linalg.cholesky(correlation)
        is_singular = tf.reduce_all(tf.math.is_finite(correlation)) & ~tf.reduce_all(tf.math.is_finite(factor))
        self._assert_not_singular(is_singular)
        return factor

    def _whiten(
        self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the whitened deviations, which density and conditioning share.

        Args:
            value: `[..., n, D]`.
            poses: `[..., n, P]`.
            weights: `[..., n]`, or `None`.

        Returns:
            factor: float64 Cholesky factor of R, `[..., G, n, n]`.
            whitener: Its inverse.
            errors: Whitened deviations, `[..., n, D]`.
        """
        factor = self._cholesky(self._residual_correlation(poses, weights))
        # A product with the small inverse is several times faster than a triangular solve with this many columns.
        whitener = tf.linalg.triangular_solve(factor, tf.broadcast_to(eye_like(factor), ps.shape(factor)))
        errors = (value - self._loc_at(poses)) / self._deviation_scale()
        if weights is not None:
            errors = zero_missing(errors, weights)
            # A missing step has no loadings.
            whitener *= tf.cast(weights, tf.float64)[..., tf.newaxis, tf.newaxis, :]
        return factor, whitener, mix_steps(tf.cast(whitener, self.dtype), errors)

    def _precisions(
        self, loadings: LoadingsAtPoses, whitener: tf.Tensor, errors: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the precision of the factors, less the prior's, and their projection; see `sum_whitened`."""
        scale = tf.math.rsqrt(self._variance_of_residual())
        return sum_whitened(loadings.table, loadings.rows, scale, tf.cast(whitener, self.dtype), errors)

    def _conditioning(self, poses: tf.Tensor) -> Conditioning | None:
        """Returns the terms of conditioning for a call at poses `[..., m, P]`; `None` without observations."""
        if self._observations is None:
            return None
        observations, observed_poses, weights = self._observed()
        if poses.shape.rank > observed_poses.shape.rank:
            observed_poses = broadcast_batch(observed_poses, 2, ps.shape(poses)[:-2])
        _, whitener, errors = self._whiten(observations, observed_poses, weights)
        loadings = self._loadings_at(observed_poses)
        sums = self._precisions(loadings, whitener, errors)
        return Conditioning(observed_poses, weights, loadings, whitener, errors, *sums)

    def _energies(
        self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None, given: Conditioning | None
    ) -> tuple[Energy, Energy]:
        """Returns the energy of the observations, and that of observations and vectors `[..., n, D]` together."""
        value, poses, weights = self._with_observations(value, poses, weights)
        factor, whitener, errors = self._whiten(value, poses, weights)
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        each = tf.ones(ps.shape(value)[-2:-1], self.dtype) if weights is None else weights
        log_diagonal = tf.math.log(tf.cast(tf.linalg.diag_part(factor), self.dtype))
        # One of G groups is D / G dimensions.
        log_diagonal = 2.0 * dimension * tf.reduce_mean(log_diagonal, axis=-2)
        log_variance = tf.reduce_sum(tf.math.log(self._variance_of_residual()), -1)
        log_det = each * (log_diagonal + log_variance[..., tf.newaxis])
        steps = Energy(dimension * each, tf.reduce_sum(tf.square(errors), axis=-1), log_det)
        # The whitener is triangular: whitened first steps depend on the first steps alone.
        new = slice(0 if given is None else ps.shape(given.errors)[-2], None)
        added = self._precisions(self._loadings_at(poses), whitener[..., new, :], errors[..., new, :])
        return integrate_factors(steps, added, given)

    def _predict(
        self, poses: tf.Tensor, given: Conditioning | None, factor_scale: float = 1.0, factor_evidence: float = 1.0
    ) -> PredictiveMoments:
        """Returns the predictive moments at poses `[..., m, P]`, given `_conditioning(poses)`.

        The last two arguments widen the factors' covariance, see `_sample_n`.
        """
        at_poses = self._loadings_at(poses)
        loadings = at_poses.gather()
        prior = PredictiveMoments(
            df=self._degrees(),
            inflation=tf.ones([], self.dtype),
            mean=tf.zeros(ps.shape(loadings)[:-1], self.dtype),
            residual=self._residual_correlation(poses),
            residual_loadings=ResidualLoadings(loadings, self._deviation_scale(), own_product=at_poses.product),
            factor_root=float(factor_scale),
        )
        if given is None:
            return prior
        cross = vector(self._correlation)[..., tf.newaxis, tf.newaxis] * self._similarity(given.poses, poses)
        return given.predict(prior, cross, factor_scale, factor_evidence)

    def _joint_log_prob(self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        return self._log_density(value, poses, weights, self._conditioning(poses))

    def _log_prob_and_mean(
        self, value: tf.Tensor, value_poses: tf.Tensor, poses: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self._independent_targets:
            return super()._log_prob_and_mean(value, value_poses, poses)
        given = self._conditioning(poses)
        return self._log_density(value, value_poses, None, given), self._mean_at(poses, given)

    def _log_density(
        self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None, given: Conditioning | None
    ) -> tf.Tensor:
        """Returns the log-density of vectors `[..., n, D]` at poses `[..., n, P]`, given the observations."""
        df = self._degrees()
        before, whole = self._energies(value, poses, weights, given)
        if df is None:
            # The density of everything less that of the observations, term by term.
            return radial.log_density(whole.log_det - before.log_det, whole.beta - before.beta, whole.n - before.n)
        whole_log_prob = radial.log_density(whole.log_det, whole.beta, whole.n, df)
        return whole_log_prob - radial.log_density(before.log_det, before.beta, before.n, df)

    def _step_terms(
        self, predicted: PredictiveMoments, errors: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns log|K| of each step on its own, `beta` of its deviations, each `[..., m]`, and D."""
        log_det, beta = predicted.step_terms(errors)
        log_variance = tf.reduce_sum(tf.math.log(self._variance_of_residual()), -1)
        return log_det + log_variance[..., tf.newaxis], beta, tf.cast(self._dimension_tensor()[0], self.dtype)

    def _marginal_log_prob(self, value: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        predicted = self._predict(poses, self._conditioning(poses))
        errors = (value - self._loc_at(poses)) / self._deviation_scale() - predicted.mean
        return radial.log_density(*self._step_terms(predicted, errors), predicted.step_df)

    def _sample_n(
        self,
        n: TensorLike,
        seed: TensorLike = None,
        conditional_input: TensorLike | None = None,
        narrows_factors: bool = True,
        factor_scale: float = 1.0,
        factor_evidence: float = 1.0,
    ) -> tf.Tensor:
        """Draws samples; the last three arguments widen the factors about the same mean.

        Args:
            n: Number of samples.
            seed: Seed of the samples.
            conditional_input: Poses `[..., num_steps, P]`; `None` uses the bound ones.
            narrows_factors: Whether the posterior radius of a Student-t scales factors and residual, as the density has
                it, or the residual alone. Where the residual has more variance than the data, the many observed numbers
                make the radius small.
            factor_scale: Factor of the factors' prior standard deviations.
            factor_evidence: Weight in (0, 1] of the observations' log-likelihood in the factors' covariance, as in a
                power posterior (Grunwald, "The Safe Bayesian", 2012). The residual has neighbouring pixels err
                independently. In fact they err together, so the observations determine the factors less precisely than
                their number suggests.
        """
        poses = self._sampled_poses(conditional_input)
        predicted = self._predict(poses, self._conditioning(poses), factor_scale, factor_evidence)
        mixing_seed, factor_seed, residual_seed = samplers.split_seed(seed, n=3, salt='factor_process')
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        mean_shape = ps.concat([batch, ps.shape(poses)[-2:-1], self._dimension_tensor()], 0)
        shape = ps.concat([[n], mean_shape], 0)
        noise = samplers.normal(shape, seed=residual_seed, dtype=self.dtype)
        # With independent targets, every step has separate factors and a separate mixing.
        steps = shape[-2] if self._independent_targets else 1
        shared_shape = ps.concat([shape[:-2], [steps]], 0)
        factors_shape = ps.concat([shared_shape, [predicted.num_factors]], 0)
        factors = samplers.normal(factors_shape, seed=factor_seed, dtype=self.dtype)
        if not narrows_factors:
            factors *= tf.math.rsqrt(predicted.inflation)[..., tf.newaxis, tf.newaxis]
        mixing = radial.mixing(shared_shape, predicted.step_df, mixing_seed, self.dtype)
        mixing *= tf.sqrt(predicted.inflation)[..., tf.newaxis]
        if self._independent_targets:
            residual = tf.sqrt(predicted.step_residual()) * noise
            deviations = tf.einsum('...ndq,s...nq->s...nd', predicted.loadings(), factors) + residual
        else:
            residual = mix_steps(tf.cast(self._cholesky(predicted.residual), self.dtype), noise)
            deviations = predicted.apply(factors[..., 0, :]) + residual
        scaled = predicted.mean + mixing[..., tf.newaxis] * deviations
        return self._loc_at(poses) + self._deviation_scale() * scaled

    def _mean(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        poses = self._poses_at(conditional_input)
        return self._mean_at(poses, self._conditioning(poses))

    def _mean_at(self, poses: tf.Tensor, given: Conditioning | None) -> tf.Tensor:
        """Returns the mean `[..., m, D]` at poses `[..., m, P]`, given the observations."""
        mean = self._loc_at(poses) + self._deviation_scale() * self._predict(poses, given).mean
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        return tf.broadcast_to(mean, ps.concat([batch, ps.shape(mean)[-2:]], 0))

    def _variance(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        poses = self._broadcast_poses(conditional_input)
        predicted = self._predict(poses, self._conditioning(poses))
        return tf.square(self._deviation_scale()) * predicted.variance()

    def _covariance(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        poses = self._broadcast_poses(conditional_input)
        covariance = self._predict(poses, self._conditioning(poses)).covariance(self._independent_targets)
        scale = tf.sqrt(self._variance_of_residual())
        scale = tf.tile(scale, ps.concat([ps.ones([ps.rank(scale) - 1], tf.int32), ps.shape(poses)[-2:-1]], 0))
        return scale[..., :, tf.newaxis] * scale[..., tf.newaxis, :] * covariance

    def _entropy(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        poses = self._broadcast_poses(conditional_input)
        given = self._conditioning(poses)
        predicted = self._predict(poses, given)
        if self._independent_targets:
            log_det, _, dimension = self._step_terms(predicted)
            return tf.reduce_sum(radial.entropy(log_det, dimension, predicted.step_df), -1)
        # The determinant does not depend on the values.
        value = tf.zeros(ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0), self.dtype)
        before, whole = self._energies(value, poses, None, given)
        n = whole.n - before.n
        log_det = whole.log_det - before.log_det + n * tf.math.log(predicted.inflation)
        return radial.entropy(log_det, n, predicted.df)
