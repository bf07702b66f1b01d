"""Processes with factors that all vectors of a sequence share, beside a residual that is correlated over poses."""

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties, samplers
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._factor_algebra import (
    Conditioning,
    Energy,
    PredictiveMoments,
    ResidualLoadings,
    cholesky_solve,
    eye_like,
    factor_terms,
)
from tfp_bruno.distributions._factor_sums import sum_whitened
from tfp_bruno.distributions._parameters import NO_BATCH, parameter, per_group, per_sequence, vector
from tfp_bruno.distributions._pose_dependence import PoseDependence
from tfp_bruno.distributions._shapes import broadcast_batch
from tfp_bruno.distributions._steps import block_covariance, expand_groups, expand_matrices, mix_steps, steps_first
from tfp_bruno.distributions.base import Process
from tfp_bruno.distributions.fitting import fit_factor_moments
from tfp_bruno.distributions.one_hot import PoseTable, slice_kernel

__all__ = ['FactorGaussianProcess', 'FactorProcess', 'FactorStudentTProcess']


class FactorProcess(PoseDependence, Process):
    """`z_i = loc + L(v_i) h + r_i`: q factors h of the subject, and a residual that is correlated over poses.

    A Cholesky factor of the residual's correlation whitens one step after the other, so the first steps' quantities are
    those of the first steps alone; the factors are then integrated out by the matrix inversion lemma. `O(n D q (n +
    q))`. For many sequences at the same poses `[n, P]`, all that does not depend on their values is computed once.
    Matrices over the steps are float64: conditional variances are differences of nearly equal numbers where the
    correlation is near 1.
    """

    # The correlations belong to groups of dimensions, and the degrees of freedom to all.
    _dimension_names = ('loc', 'residual_variance')
    _group_names = ('constant_share', 'correlation')
    _keeps_common_poses = True

    def __init__(
        self,
        loc,
        loadings,
        residual_variance,
        correlation,
        kernel,
        constant_share=0.0,
        num_steps=None,
        poses=None,
        observations=None,
        observed_poses=None,
        observations_is_missing=None,
        jitter=None,
        independent_targets=False,
        validate_args=False,
        allow_nan_stats=True,
        name=None,
    ):
        """Constructs the process from the arguments of `PoseGaussianProcess`, but for three.

        `loadings` is a floating-point `Tensor` of shape `[P, D, q]`, of which one-hot poses choose rows, or a callable
        that maps poses `[..., n, P]` of any kind to loadings `[..., n, D, q]`. `residual_variance` is a positive
        `Tensor` of shape `[B1, ..., Bb, D]`, the variance of the residual. `correlation` is a `Tensor` in `[0, 1)`,
        scalar or of shape `[..., G]`, the correlation of the residual between two vectors at the same pose.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            'residual_variance': parameter('residual_variance', dtype),
            'correlation': parameter('correlation', dtype, per_group),
            'loadings': parameter_properties.ParameterProperties(event_ndims=NO_BATCH, shape_fn=_unknown_loadings),
            **cls._pose_parameter_properties(dtype),
        }

    @classmethod
    def from_samples(cls, samples, num_factors, num_steps=None, **kwargs):
        """Returns a process over one-hot poses, fitted in closed form to samples.

        The mean of each pose becomes `loc`; the other parameters are those of `fit`.

        Args:
            samples: Array of shape `[S, K, D]`: S >= 3 subjects with a vector at each of K >= 3 neighbouring poses.
            num_factors: Integer q.
            num_steps: Integer. Default value: `None`, which is K unless `poses` are given.
            **kwargs: Further arguments of the constructor, which replace what was fitted.

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

    def fit(self, samples, transform=None, subjects=None, inflation=1.0):
        """Fits the variables of the process to samples, in closed form.

        Principal components of whole subjects become the loadings, and what they leave of held-out subjects determines
        the residual: its variance, its correlation between slices, the kernel's length scale, and for a Student-t the
        degrees of freedom.

        Args:
            samples: float32 or float16 array `[S, K, D]` about `loc`, see `fit_factor_moments`.
            transform: Linear map from arrays `[..., D]` to vectors of this process. Default value: `None`, the
                identity.
            subjects: Integers `[S]`, the subject of each sample. Default value: `None`, each its own.
            inflation: `float`, factor of the residual's variance. Default value: 1.
        """
        kernel = self.kernel.kernel
        moments = fit_factor_moments(samples, self.loadings.shape[-1], transform, type(kernel), subjects)
        self.loadings.assign(moments.loadings)
        self.residual_variance.assign(inflation * moments.variance)
        self.correlation.assign(moments.correlation)
        kernel.length_scale.assign(moments.length)
        if hasattr(self, 'df'):
            self.df.assign(moments.df)

    @property
    def loadings(self):
        """Loadings of the factors: `[P, D, q]`, or a callable of poses."""
        return self._loadings

    @property
    def residual_variance(self):
        """Variance of the residual."""
        return self._residual_variance

    @property
    def correlation(self):
        """Correlation of the residual between steps at the same pose."""
        return self._correlation

    def _check_shapes(self):
        super()._check_shapes()
        if callable(self._loadings):
            return
        shape = self._loadings.shape
        if shape.rank != 3 or not shape[1:2].is_compatible_with(self._dimension()):
            raise ValueError(
                f'{self.name}: `loadings` {shape} must have shape [P, D, q], where D = {self._dimension()[0]} is that '
                f'of `residual_variance` {self._residual_variance.shape}.'
            )

    @property
    def _pose_size(self):
        return super()._pose_size if callable(self._loadings) else self._loadings.shape[0]

    def _degrees(self):
        """Returns the degrees of freedom `[...]`, or `None`."""
        df = getattr(self, '_df', None)
        return None if df is None else tf.convert_to_tensor(df)

    def _deviation_scale(self):
        return tf.sqrt(vector(self._residual_variance))[..., tf.newaxis, :]

    def _table_and_rows(self, poses):
        """Returns loadings `[P, D, q]` and which of them are those at poses `[..., n, P]`, integers `[..., n]`."""
        if not callable(self._loadings):
            with tf.control_dependencies(_one_hot_assertions(poses) if self.validate_args else []):
                return tf.convert_to_tensor(self._loadings), tf.argmax(poses, axis=-1, output_type=tf.int32)
        loadings = tf.convert_to_tensor(self._loadings(poses))
        steps_and_size = poses.shape[-2:-1].concatenate(self._dimension())
        if not loadings.shape[-3:-1].is_compatible_with(steps_and_size):
            raise ValueError(
                f'{self.name}: `loadings` gave {loadings.shape} at poses {poses.shape}, not '
                f'[..., n, {self._dimension()[0]}, q].'
            )
        shape = ps.shape(loadings)
        rows = tf.reshape(tf.range(ps.reduce_prod(shape[:-2])), shape[:-2])
        return tf.reshape(loadings, ps.concat([[-1], shape[-2:]], 0)), rows

    def _residual_correlation(self, poses, weights=None):
        """Returns R between poses `[..., n, P]`, float64 `[..., G, n, n]`."""
        correlation = vector(self._correlation)[..., tf.newaxis, tf.newaxis]
        noise = tf.cast(self._noise_share(correlation), tf.float64)
        similarity = tf.cast(self._own_similarity(poses, weights), tf.float64)
        return tf.cast(correlation, tf.float64) * similarity + noise * eye_like(similarity)

    def _cholesky(self, correlation):
        """Returns the Cholesky factor of R; an error where it has none."""
        factor = tf.linalg.cholesky(correlation)
        is_singular = tf.reduce_all(tf.math.is_finite(correlation)) & ~tf.reduce_all(tf.math.is_finite(factor))
        check = tf.debugging.assert_equal(is_singular, False, message=self._singular())
        with tf.control_dependencies([check]):
            return tf.identity(factor)

    def _whiten(self, value, poses, weights):
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
            # Not a product: a missing value may be NaN.
            errors = tf.where(weights[..., tf.newaxis] > 0.0, errors, tf.zeros([], self.dtype))
            # A missing step has no loadings.
            whitener *= tf.cast(weights, tf.float64)[..., tf.newaxis, tf.newaxis, :]
        return factor, whitener, mix_steps(tf.cast(whitener, self.dtype), errors)

    def _precisions(self, table, rows, whitener, errors):
        """Returns the precision of the factors, less the prior's, and their projection; see `sum_whitened`."""
        scale = tf.math.rsqrt(vector(self._residual_variance))
        scale = tf.broadcast_to(scale, ps.concat([ps.shape(scale)[:-1], self._dimension_tensor()], 0))
        return sum_whitened(table, rows, scale, tf.cast(whitener, self.dtype), errors)

    def _conditioning(self, poses):
        """Returns the `Conditioning` with the batch of the poses that a call is about; `None` without observations."""
        if self._observations is None:
            return None
        observations, observed_poses, weights = self._observed()
        if poses.shape.rank > observed_poses.shape.rank:
            observed_poses = broadcast_batch(observed_poses, 2, ps.shape(poses)[:-2])
        _, whitener, errors = self._whiten(observations, observed_poses, weights)
        table_and_rows = self._table_and_rows(observed_poses)
        sums = self._precisions(*table_and_rows, whitener, errors)
        return Conditioning(observed_poses, weights, table_and_rows, whitener, errors, *sums)

    def _energies(self, value, poses, weights, given):
        """Returns the `Energy` of the observations, and that of observations and vectors `[..., n, D]` together."""
        num_observed = 0 if given is None else ps.shape(given.errors)[-2]
        value, poses, weights = self._with_observations(value, poses, weights)
        factor, whitener, errors = self._whiten(value, poses, weights)
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        each = tf.ones(ps.shape(value)[-2:-1], self.dtype) if weights is None else weights
        log_diagonal = tf.math.log(tf.cast(tf.linalg.diag_part(factor), self.dtype))
        # One of G groups is D / G dimensions.
        log_diagonal = 2.0 * dimension * tf.reduce_mean(log_diagonal, axis=-2)
        log_variance = tf.reduce_sum(tf.math.log(vector(self._residual_variance)), -1)
        step_log_det = each * (log_diagonal + log_variance[..., tf.newaxis])
        squares = tf.reduce_sum(tf.square(errors), axis=-1)
        # The whitener is triangular: of the first steps, it takes the first ones alone.
        new = slice(num_observed, None)
        sums = self._precisions(*self._table_and_rows(poses), whitener[..., new, :], errors[..., new, :])
        zero = tf.zeros([], self.dtype)
        energies, parts = [Energy(zero, zero, zero)], [(slice(None), sums)]
        if given is not None:
            before = given.precision, given.projected
            whole = [old + added for old, added in zip(before, sums, strict=True)]
            energies, parts = [], [(slice(None, num_observed), before), (slice(None), whole)]
        for steps, (precision, projected) in parts:
            log_det, explained = factor_terms(precision, projected)
            energies.append(
                Energy(
                    dimension * tf.reduce_sum(each[..., steps], -1),
                    tf.reduce_sum(squares[..., steps], -1) - explained,
                    tf.reduce_sum(step_log_det[..., steps], -1) + log_det,
                )
            )
        return energies

    def _predict(self, poses, given, factor_scale=1.0, factor_evidence=1.0):
        """Returns the `PredictiveMoments` at poses `[..., m, P]`, given `_conditioning(poses)`.

        The last two arguments widen the loadings, see `_sample_n`.
        """
        df, residual = self._degrees(), self._residual_correlation(poses)
        loadings, one = tf.gather(*self._table_and_rows(poses)), tf.ones([], self.dtype)
        if given is None:
            mean = tf.zeros(ps.shape(loadings)[:-1], self.dtype)
            residual_loadings = ResidualLoadings(loadings, self._deviation_scale())
            return PredictiveMoments(df, one, mean, residual, residual_loadings, float(factor_scale))
        precision, weights, errors = given.precision, given.weights, given.errors
        precision_factor = tf.linalg.cholesky(precision + eye_like(precision))
        factors_mean = cholesky_solve(precision_factor, given.projected)
        # The factors are mean + C^-T e, e standard, where C is the Cholesky factor of their precision.
        root = precision_factor
        if (factor_scale, factor_evidence) != (1.0, 1.0):
            root = tf.linalg.cholesky(factor_evidence * precision + factor_scale**-2 * eye_like(precision))
        inverse = tf.linalg.triangular_solve(root, tf.broadcast_to(eye_like(precision), ps.shape(root)))
        cross = vector(self._correlation)[..., tf.newaxis, tf.newaxis] * self._similarity(given.poses, poses)
        if weights is not None:
            cross *= weights[..., tf.newaxis, :, tf.newaxis]
        of_whitened = tf.linalg.matrix_transpose(tf.matmul(given.whitener, tf.cast(cross, tf.float64)))
        residual -= tf.matmul(of_whitened, of_whitened, transpose_b=True)
        kriging = tf.cast(tf.matmul(of_whitened, given.whitener), self.dtype)
        observed_loadings = tf.gather(*given.table_and_rows)
        residual_loadings = ResidualLoadings(loadings, self._deviation_scale(), kriging, observed_loadings)
        # The part of the observations that the factors' mean explains does not enter the residual.
        mean = mix_steps(tf.cast(of_whitened, self.dtype), errors) + residual_loadings.apply(factors_mean)
        of_factors = residual_loadings, tf.linalg.matrix_transpose(inverse)
        if df is None:
            return PredictiveMoments(None, one, mean, residual, *of_factors)
        each = tf.ones(ps.shape(errors)[-2:-1], self.dtype) if weights is None else weights
        n = tf.cast(self._dimension_tensor()[0], self.dtype) * tf.reduce_sum(each, -1)
        beta = tf.reduce_sum(tf.square(errors), [-2, -1]) - tf.reduce_sum(given.projected * factors_mean, -1)
        return PredictiveMoments(df + n, radial.predictive_scale(beta, n, df), mean, residual, *of_factors)

    def _joint_log_prob(self, value, poses, weights):
        return self._log_density(value, poses, weights, self._conditioning(poses))

    def _log_prob_and_mean(self, value, value_poses, poses):
        if self._independent_targets:
            return super()._log_prob_and_mean(value, value_poses, poses)
        given = self._conditioning(poses)
        return self._log_density(value, value_poses, None, given), self._mean_at(poses, given)

    def _log_density(self, value, poses, weights, given):
        """Returns the log-density of vectors `[..., n, D]` at poses `[..., n, P]`, given the `Conditioning`."""
        df = self._degrees()
        before, whole = self._energies(value, poses, weights, given)
        if df is None:
            # The difference of that of the observations and that of everything, term by term.
            return radial.log_density(whole.log_det - before.log_det, whole.beta - before.beta, whole.n - before.n)
        whole_log_prob = radial.log_density(whole.log_det, whole.beta, whole.n, df)
        return whole_log_prob - radial.log_density(before.log_det, before.beta, before.n, df)

    def _step_variance(self, predicted):
        """Returns the residual's variance of each step, `[..., m, D]` (or `[..., m, 1]`)."""
        variance = tf.cast(tf.linalg.diag_part(predicted.residual), self.dtype)
        return expand_groups(variance, self._dimension()[0])

    def _step_terms(self, predicted, own, errors=None):
        """Returns log|K| of each step on its own and the part of `beta` that the factors explain, `[..., m]`.

        Args:
            predicted: `PredictiveMoments`.
            own: `_step_variance`.
            errors: Deviations in units of its root, `[..., m, D]`. Default value: `None`, zero.
        """
        loadings = predicted.loadings() * tf.math.rsqrt(own)[..., tf.newaxis]
        precision = tf.matmul(loadings, loadings, transpose_a=True)
        projected = tf.zeros_like(precision[..., 0])
        if errors is not None:
            projected = tf.linalg.matvec(loadings, errors, transpose_a=True)
        log_det, explained = factor_terms(precision, projected)
        log_variance = tf.math.log(own) + tf.math.log(vector(self._residual_variance))[..., tf.newaxis, :]
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        inflation = dimension * tf.math.log(predicted.inflation)[..., tf.newaxis]
        return log_det + tf.reduce_sum(log_variance, -1) + inflation, explained

    def _marginal_log_prob(self, value, poses):
        predicted = self._predict(poses, self._conditioning(poses))
        own = self._step_variance(predicted)
        errors = (value - self._loc_at(poses)) / self._deviation_scale() - predicted.mean
        errors *= tf.math.rsqrt(own)
        log_det, explained = self._step_terms(predicted, own, errors)
        beta = (tf.reduce_sum(tf.square(errors), -1) - explained) / predicted.inflation[..., tf.newaxis]
        df = None if predicted.df is None else predicted.df[..., tf.newaxis]
        return radial.log_density(log_det, beta, tf.cast(self._dimension_tensor()[0], self.dtype), df)

    def _sample_n(
        self, n, seed=None, conditional_input=None, narrows_factors=True, factor_scale=1.0, factor_evidence=1.0
    ):
        """Draws samples.

        Three arguments, a Python `bool` and two `float`s, widen what all steps have in common, about the same mean:

        * A Student-t has one radius for factors and residual; where the residual has more variance than the data, the
          observations, which are many numbers, narrow both. Without `narrows_factors` they narrow the residual alone.
        * `factor_scale` multiplies the factors' prior standard deviations.
        * The residual has neighbouring pixels err independently. They err together, so the observations determine the
          factors less precisely than their number suggests: `factor_evidence`, in (0, 1], weighs their log-likelihood
          in the factors' covariance, as in a power posterior (Grunwald, "The Safe Bayesian", 2012).
        """
        poses = self._sampled_poses(conditional_input)
        predicted = self._predict(poses, self._conditioning(poses), factor_scale, factor_evidence)
        mixing_seed, factor_seed, residual_seed = samplers.split_seed(seed, n=3, salt='factor_process')
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        mean_shape = ps.concat([batch, ps.shape(poses)[-2:-1], self._dimension_tensor()], 0)
        shape = ps.concat([[n], mean_shape], 0)
        noise = samplers.normal(shape, seed=residual_seed, dtype=self.dtype)
        # With independent targets, every step has factors and a mixing of its own.
        steps = shape[-2] if self._independent_targets else 1
        shared_shape = ps.concat([shape[:-2], [steps]], 0)
        factors_shape = ps.concat([shared_shape, [predicted.num_factors]], 0)
        factors = samplers.normal(factors_shape, seed=factor_seed, dtype=self.dtype)
        if not narrows_factors:
            factors *= tf.math.rsqrt(predicted.inflation)[..., tf.newaxis, tf.newaxis]
        df = None if predicted.df is None else predicted.df[..., tf.newaxis]
        mixing = radial.mixing(shared_shape, df, mixing_seed, self.dtype)
        mixing *= tf.sqrt(predicted.inflation)[..., tf.newaxis]
        if self._independent_targets:
            residual = tf.sqrt(self._step_variance(predicted)) * noise
            deviations = tf.einsum('...ndq,s...nq->s...nd', predicted.loadings(), factors) + residual
        else:
            residual = mix_steps(tf.cast(self._cholesky(predicted.residual), self.dtype), noise)
            deviations = predicted.apply(factors[..., 0, :]) + residual
        scaled = predicted.mean + mixing[..., tf.newaxis] * deviations
        return self._loc_at(poses) + self._deviation_scale() * scaled

    def _mean(self, conditional_input=None):
        poses = self._poses_at(conditional_input)
        return self._mean_at(poses, self._conditioning(poses))

    def _mean_at(self, poses, given):
        """Returns the mean `[..., m, D]` at poses `[..., m, P]`, given the `Conditioning`."""
        mean = self._loc_at(poses) + self._deviation_scale() * self._predict(poses, given).mean
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        return tf.broadcast_to(mean, ps.concat([batch, ps.shape(mean)[-2:]], 0))

    def _variance(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        predicted = self._predict(poses, self._conditioning(poses))
        relative = tf.reduce_sum(tf.square(predicted.loadings()), axis=-1) + self._step_variance(predicted)
        return tf.square(self._deviation_scale()) * predicted.inflation[..., tf.newaxis, tf.newaxis] * relative

    def _covariance(self, conditional_input=None):
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        poses = self._broadcast_poses(conditional_input)
        predicted = self._predict(poses, self._conditioning(poses))
        loadings = predicted.loadings()
        shape = ps.shape(loadings)
        flat = ps.concat([shape[:-3], [shape[-3] * shape[-2]]], 0)
        loadings = tf.reshape(loadings, ps.concat([flat, shape[-1:]], 0))
        by_factors = tf.matmul(loadings, loadings, transpose_b=True)
        identity = tf.eye(shape[-3], dtype=self.dtype)
        dimension = self._dimension()[0]
        within = steps_first(expand_matrices(tf.cast(predicted.residual, self.dtype), dimension))
        if self._independent_targets:
            within *= identity[..., tf.newaxis]
            by_factors *= tf.repeat(tf.repeat(identity, shape[-2], axis=0), shape[-2], axis=1)
        deviations = tf.reshape(tf.broadcast_to(self._deviation_scale(), shape[:-1]), flat)
        scale = deviations[..., :, tf.newaxis] * deviations[..., tf.newaxis, :]
        scale *= predicted.inflation[..., tf.newaxis, tf.newaxis]
        return scale * (by_factors + block_covariance(within))

    def _entropy(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        given = self._conditioning(poses)
        predicted = self._predict(poses, given)
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        if self._independent_targets:
            df = None if predicted.df is None else predicted.df[..., tf.newaxis]
            log_det, _ = self._step_terms(predicted, self._step_variance(predicted))
            return tf.reduce_sum(radial.entropy(log_det, dimension, df), -1)
        # The determinant does not depend on the values.
        value = tf.zeros(ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0), self.dtype)
        before, whole = self._energies(value, poses, None, given)
        n = tf.cast(ps.shape(poses)[-2], self.dtype) * dimension
        log_det = whole.log_det - before.log_det + n * tf.math.log(predicted.inflation)
        return radial.entropy(log_det, n, predicted.df)


def _unknown_loadings(shape):
    raise ValueError(
        f'The number of factors does not follow from samples of shape {shape}: give `loadings`, a tensor [P, D, q] or '
        'a callable of poses.'
    )


def _one_hot_assertions(poses):
    message = 'The poses (argument `conditional_input` or `poses`) must be one-hot where `loadings` is a table.'
    ones = tf.ones(ps.shape(poses)[:-1], poses.dtype)
    return [
        tf.debugging.assert_equal(tf.reduce_max(poses, -1), ones, message=message),
        tf.debugging.assert_equal(tf.reduce_sum(tf.abs(poses), -1), ones, message=message),
    ]


class FactorGaussianProcess(FactorProcess):
    """Vectors at poses: a few factors of the subject, loaded by pose, plus a residual that is smooth over poses.

    One event has shape `[num_steps, D]`. Permuting the (vector, pose) pairs leaves the density unchanged, and any
    subset of the pairs has the density of the same process.

    #### Mathematical Details

    ```none
    z_i = loc(v_i) + L(v_i) h + r_i,   h of covariance I_q, uncorrelated with r
    cov(r_id, r_je) = delta_de variance_d R_ij,   R_ij = rho S_ij + (1 - rho) delta_ij
    S_ij = alpha + (1 - alpha) k(v_i, v_j)
    ```

    where L is a table over one-hot poses or any callable of poses, k is a kernel, variance = `residual_variance`, rho =
    `correlation` and alpha = `constant_share`. With A = R^-1, E = (z - loc) / sd and M = L / sd, where sd is the root
    of the residual's variance,

    ```none
    P = I_q + sum_ij A_ij M_i^T M_j,   u = sum_ij A_ij M_i^T E_j
    log|Sigma| = D log|R| + n sum_d log(variance_d) + log|P|,   beta = sum_ij A_ij E_i . E_j - u^T P^-1 u
    ```

    by the matrix inversion lemma: `O(n D q (n + q))`, with one n x n and one q x q factorisation, memory `O(n D q)`.

    Given observations, `h ~ N(P^-1 u, P^-1)`, and the residual at other poses is kriged from that at the observed
    ones. Without loadings this is `PoseGaussianProcess` with one correlation for a group of dimensions.

    #### Examples

    ```python
    process = tfp_bruno.distributions.FactorGaussianProcess(
        loc=0., loadings=loadings, residual_variance=variance,                    # [P, D, q], [D]
        correlation=0.9, kernel=kernel, num_steps=9)
    z = process.at(poses).sample(seed=(1, 2))                                     # [9, D] at poses [9, P]
    rest = process.posterior(z[:4], poses[:4], poses=poses[4:])
    rest.mean()                                                                   # [5, D]
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2 and
    section A.3. MIT Press, 2006. [2]: Michael E. Tipping, Christopher M. Bishop. Probabilistic principal component
    analysis. JRSS B, 1999.
    """


class FactorStudentTProcess(FactorProcess):
    """Vectors at poses: a few factors of the subject, loaded by pose, plus a residual that is smooth over poses.

    #### Mathematical Details

    With the covariance Sigma of `FactorGaussianProcess`, all N = n D numbers of a subject are one multivariate
    Student-t with a single `df = nu`. How far a subject is from typical shows in all its slices at once, and widens
    what is predicted for the others:

    ```none
    log p(z) = lgamma((nu + N) / 2) - lgamma(nu / 2) - N/2 log(pi (nu - 2))
               - 1/2 log|Sigma| - (nu + N)/2 log(1 + beta / (nu - 2)),   beta = (z - loc)^T Sigma^-1 (z - loc)
    ```

    Given N observed ones, `nu' = nu + N`, the mean is the Gaussian's and the covariance is the Gaussian's times
    `(nu + beta - 2) / (nu + N - 2)`. Without loadings and with D = 1 this is `PoseStudentTProcess`; with more
    dimensions that one has a radius for each, and this a common one.
    """

    def __init__(
        self,
        df,
        loc,
        loadings,
        residual_variance,
        correlation,
        kernel,
        constant_share=0.0,
        num_steps=None,
        poses=None,
        observations=None,
        observed_poses=None,
        observations_is_missing=None,
        jitter=None,
        independent_targets=False,
        validate_args=False,
        allow_nan_stats=True,
        name=None,
    ):
        """Constructs the process from the arguments of `FactorGaussianProcess` and the degrees of freedom.

        `df` is a floating-point `Tensor` of shape `[B1, ..., Bb]` above 2, one for all numbers of a subject.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {'df': parameter('df', dtype, per_sequence, event_ndims=0), **super()._parameter_properties(dtype)}

    @property
    def df(self):
        """Degrees of freedom of the prior; given n observations they are `df + n D`."""
        return self._df
