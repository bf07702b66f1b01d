"""Processes over poses: in each dimension on its own, vectors at near poses are more correlated than distant ones."""

import typing

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.internal import samplers

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._parameters import parameter, vector
from tfp_bruno.distributions._pose_dependence import PoseDependence
from tfp_bruno.distributions._shapes import broadcast_batch
from tfp_bruno.distributions._steps import (
    Spectrum,
    block_covariance,
    decompose,
    expand_groups,
    expand_matrices,
    mix_steps,
    steps_first,
)
from tfp_bruno.distributions.base import Process
from tfp_bruno.distributions.fitting import assign_moments, dimension_variance, fit_kernel

__all__ = ['PoseGaussianProcess', 'PoseProcess', 'PoseStudentTProcess']


class _Whitened(typing.NamedTuple):
    """Vectors in the eigenbasis of the similarity of their poses.

    Attributes:
        exact: float64 `Spectrum` of the similarity, one for each of G groups.
        spectrum: The same in the dtype of the process.
        scales: Eigenvalues of K / variance, `[..., n, D]`.
        solved: `(K / variance)^-1 (z - loc) / sd` in that basis, `[..., n, D]`.
        n: Number of vectors that are not missing, broadcastable to `[..., D]`.
        beta: `(z - loc)^T K^-1 (z - loc)` of each dimension, `[..., D]`.
        log_det: log|K| of each dimension, `[..., D]`.
    """

    exact: Spectrum
    spectrum: Spectrum
    scales: tf.Tensor
    solved: tf.Tensor
    n: tf.Tensor
    beta: tf.Tensor
    log_det: tf.Tensor


class _PredictiveMoments(typing.NamedTuple):
    """Moments of vectors at some poses, given the observations.

    Attributes:
        df: Degrees of freedom, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[..., D]`.
        mean: `[..., m, D]`.
        observed: `_Whitened` observations, or `None`.
        cross: float64 similarity of the poses with the observed ones, in the eigenbasis, `[..., G, m, n]`, or `None`.
    """

    df: tf.Tensor | None
    inflation: tf.Tensor
    mean: tf.Tensor
    observed: _Whitened | None
    cross: tf.Tensor | None


class PoseProcess(PoseDependence, Process):
    """Independent dimensions with `K_ij = variance (correlation S_ij + (1 - correlation) delta_ij)`.

    `S_ij = share + (1 - share) k(v_i, v_j)` is common to all dimensions of a group, so one n x n eigendecomposition
    `S = Q diag(lambda) Q^T` makes every K diagonal: its eigenvalues are `variance (correlation lambda + 1 -
    correlation)`, and density and conditioning cost `O(n^2 D)`. Samples are drawn by conditioning joint samples of
    the prior (Matheron's rule), so no dimension needs a factorisation of its own. Conditional variances are computed in
    float64, as they are differences of nearly equal numbers where the correlation is near 1.
    """

    _dimension_names = ('loc', 'marginal_variance', 'correlation', 'df')

    def __init__(
        self,
        loc,
        marginal_variance,
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
        """Constructs the process.

        Args:
            loc: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it): mean of every vector; or
                a callable that maps poses `[..., n, P]` to `[..., n, D]`, for example a `PoseTable`.
            marginal_variance: Positive `Tensor` of shape `[B1, ..., Bb, D]`: variance of every vector.
            correlation: `Tensor` of shape `[B1, ..., Bb, D]` in `[0, 1)`: correlation between two vectors at the same
                pose.
            kernel: `tfp.math.psd_kernels.PositiveSemidefiniteKernel` over poses, with `k(v, v) = 1`; with batch shape
                `[G]`, one for each of G groups of D / G neighbouring dimensions.
            constant_share: `Tensor` in [0, 1], scalar or of shape `[..., G]`: share of the correlation that does not
                depend on the poses. Default value: `0.`.
            num_steps: Integer `Tensor`, the number of vectors of an event. Default value: `None`, that of `poses`.
            poses: `Tensor` of shape `[..., num_steps, P]`: poses of the vectors of an event. Default value: `None`,
                which leaves them to `at` or the argument `conditional_input` of every method.
            observations: `Tensor` of shape `[..., n, D]`: vectors that the process is conditioned on, see `posterior`.
                Default value: `None`.
            observed_poses: `Tensor` of shape `[..., n, P]`. Default value: `None`.
            observations_is_missing: Boolean `Tensor` of shape `[..., n]`, `True` where an observation is missing.
                Default value: `None`, none is missing.
            jitter: Python `float`: where `1 - correlation`, the share of independent noise in the variance, is smaller
                than this, this takes its place, so that the covariance can be factorised. Default value: `None`, 32
                units in the last place of 1: 3.8e-6 in float32, 7.1e-15 in float64.
            independent_targets: Python `bool`: whether the steps of an event are drawn and scored each on its own,
                as in the official code of Conditional BRUNO; conditioning is not changed. Default value: `False`.
            validate_args: Python `bool`: whether parameters, kernel and observations are checked at run time. Default
                value: `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `None`, the name of the class.

        Raises:
            ValueError: if shapes or dtypes do not fit each other, or the number of steps is not known.
            tf.errors.InvalidArgumentError: from a method, if the covariance is not positive definite.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        own = {name: parameter(name, dtype) for name in ('marginal_variance', 'correlation')}
        return {**own, **cls._pose_parameter_properties(dtype)}

    def fit(self, samples, step=1):
        """Sets the variables among the parameters to moments of samples, except `loc`, `df` and `constant_share`.

        Args:
            samples: float32 array `[S, n, D]` about `loc`: S subjects with n vectors each, at neighbouring slices.
            step: Distance between neighbouring slices. The kernel must be a `slice_kernel`.
        """
        kernel = self.kernel.kernel
        _, length = fit_kernel(samples, step, type(kernel))
        kernel.length_scale.assign(length)
        variance = dimension_variance(samples)
        # The mean product of neighbours, divided by their similarity.
        share = np.asarray(self.constant_share)
        smooth = float(kernel.apply([[0.0]], [[float(step)]])[0])
        products = np.mean(samples[:, 1:] * samples[:, :-1], axis=(0, 1)) / (share + (1 - share) * smooth)
        assign_moments(self, variance, products / variance)

    @property
    def marginal_variance(self):
        """Variance of every vector."""
        return self._marginal_variance

    @property
    def correlation(self):
        """Correlation between vectors at the same pose."""
        return self._correlation

    def _degrees(self):
        return vector(getattr(self, '_df', None))

    def _by_step(self):
        """Returns variance, correlation and noise share, each `[..., 1, D]`."""
        variance, correlation = (
            vector(value)[..., tf.newaxis, :] for value in (self._marginal_variance, self._correlation)
        )
        return variance, correlation, self._noise_share(correlation)

    def _solve(self, spectrum, scales, rotated):
        """Returns `(K / variance)^-1` times vectors, both in the eigenbasis."""
        _, correlation, _ = self._by_step()
        solved = rotated / scales
        return solved - correlation / scales * mix_steps(spectrum.off, solved)

    def _whiten(self, value, poses, weights):
        """Returns the `_Whitened` vectors `[..., n, D]` at poses `[..., n, P]`, with weights `[..., n]` or `None`."""
        variance, correlation, noise = self._by_step()
        deviations = (value - self._loc_at(poses)) * tf.math.rsqrt(variance)
        if weights is not None:
            # Not a product: a missing value may be NaN.
            deviations = tf.where(weights[..., tf.newaxis] > 0.0, deviations, tf.zeros([], self.dtype))
        exact = decompose(self._own_similarity(poses, weights))
        spectrum = exact.cast(self.dtype)
        scales = correlation * expand_groups(spectrum.values, self._dimension()[0]) + noise
        smallest = expand_groups(tf.reduce_min(spectrum.values, axis=-1, keepdims=True), self._dimension()[0])
        is_singular = tf.reduce_any(correlation * smallest + noise <= 0.0)
        check = tf.debugging.assert_equal(is_singular, False, message=self._singular())
        with tf.control_dependencies([check]):
            scales = tf.identity(scales)
        rotated = mix_steps(tf.linalg.matrix_transpose(spectrum.basis), deviations)
        solved = self._solve(spectrum, scales, rotated)
        steps = tf.cast(ps.shape(value)[-2], self.dtype)
        log_variance = tf.math.log(vector(self._marginal_variance))
        log_det = tf.reduce_sum(tf.math.log(scales), axis=-2) + steps * log_variance
        n = steps
        if weights is not None:
            # A missing step adds an independent number, of the variance of the noise, to the determinant.
            n = tf.reduce_sum(weights, axis=-1)[..., tf.newaxis]
            log_det -= (steps - n) * (log_variance + tf.math.log(noise[..., 0, :]))
        return _Whitened(exact, spectrum, scales, solved, n, tf.reduce_sum(rotated * solved, axis=-2), log_det)

    def _joint_log_prob(self, value, poses, weights):
        df = self._degrees()
        whole = self._whiten(*self._with_observations(value, poses, weights))
        log_prob = radial.log_density(whole.log_det, whole.beta, whole.n, df)
        if self._observations is not None:
            observed = self._whiten(*self._observed())
            log_prob -= radial.log_density(observed.log_det, observed.beta, observed.n, df)
        return tf.reduce_sum(log_prob, axis=-1)

    def _predict(self, poses):
        """Returns the `_PredictiveMoments` at poses `[..., m, P]`."""
        df, loc = self._degrees(), self._loc_at(poses)
        if self._observations is None:
            shape = ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0)
            mean = tf.broadcast_to(loc, ps.broadcast_shape(ps.shape(loc), shape))
            return _PredictiveMoments(df, tf.ones([1], self.dtype), mean, None, None)
        observations, observed_poses, weights = self._observed()
        observed = self._whiten(observations, observed_poses, weights)
        cross = self._similarity(poses, observed_poses)
        if weights is not None:
            cross *= weights[..., tf.newaxis, tf.newaxis, :]
        cross = tf.matmul(tf.cast(cross, tf.float64), observed.exact.basis)
        variance, correlation, _ = self._by_step()
        mean = loc + tf.sqrt(variance) * correlation * mix_steps(tf.cast(cross, self.dtype), observed.solved)
        inflation = radial.predictive_scale(observed.beta, observed.n, df)
        return _PredictiveMoments(None if df is None else df + observed.n, inflation, mean, observed, cross)

    def _exact_scales(self, observed):
        """Returns (correlation, noise share, eigenvalues of K / variance of the observations or `None`), float64."""
        _, correlation, noise = (tf.cast(value, tf.float64) for value in self._by_step())
        if observed is None:
            return correlation, noise, None
        return correlation, noise, correlation * expand_groups(observed.exact.values, self._dimension()[0]) + noise

    def _variance_at(self, poses, predicted):
        """Returns the variance `[..., m, D]` at poses."""
        correlation, noise, scales = self._exact_scales(predicted.observed)
        own = tf.cast(tf.linalg.diag_part(self._similarity(poses, poses)), tf.float64)
        relative = correlation * expand_groups(own, self._dimension()[0]) + noise
        if scales is not None:
            inverse, cross = 1.0 / scales, predicted.cross
            relative -= tf.square(correlation) * mix_steps(tf.square(cross), inverse)
            # To first order in `off`, whose value is zero: all pairs of eigenvectors.
            pairs = cross[..., :, tf.newaxis] * cross[..., tf.newaxis, :]
            pairs *= predicted.observed.exact.off[..., tf.newaxis, :, :]
            pairs = tf.reshape(pairs, ps.concat([ps.shape(pairs)[:-2], [-1]], 0))
            inverses = inverse[..., :, tf.newaxis, :] * inverse[..., tf.newaxis, :, :]
            inverses = tf.reshape(inverses, ps.concat([ps.shape(inverses)[:-3], [-1], ps.shape(inverses)[-1:]], 0))
            relative += correlation**3 * mix_steps(pairs, inverses)
        variance, _, _ = self._by_step()
        return variance * predicted.inflation[..., tf.newaxis, :] * tf.cast(relative, self.dtype)

    def _marginals(self, poses):
        """Returns (df or None, mean, variance) of each step on its own."""
        predicted = self._predict(poses)
        df = None if predicted.df is None else predicted.df[..., tf.newaxis, :]
        return df, predicted.mean, self._variance_at(poses, predicted)

    def _marginal_log_prob(self, value, poses):
        df, mean, variance = self._marginals(poses)
        beta = tf.math.squared_difference(value, mean) / variance
        each = radial.log_density(tf.math.log(variance), beta, tf.ones([], self.dtype), df)
        return tf.reduce_sum(each, axis=-1)

    def _sample_n(self, n, seed=None, conditional_input=None):
        poses = self._sampled_poses(conditional_input)
        mixing_seed, smooth_seed, own_seed = samplers.split_seed(seed, n=3, salt='pose_process')
        if self._independent_targets:
            df, mean, variance = self._marginals(poses)
            shape = ps.concat([[n], ps.shape(mean)], 0)
            noise = tf.sqrt(variance) * samplers.normal(shape, seed=own_seed, dtype=self.dtype)
            return mean + radial.mixing(shape, df, mixing_seed, self.dtype) * noise
        predicted = self._predict(poses)
        shape = ps.concat([[n], ps.shape(predicted.mean)], 0)
        deviations = self._deviations(poses, predicted, shape, smooth_seed, own_seed)
        mixing_shape = ps.concat([shape[:-2], [1], shape[-1:]], 0)
        df = None if predicted.df is None else predicted.df[..., tf.newaxis, :]
        mixing = radial.mixing(mixing_shape, df, mixing_seed, self.dtype)
        return predicted.mean + mixing * tf.sqrt(predicted.inflation)[..., tf.newaxis, :] * deviations

    def _deviations(self, poses, predicted, shape, smooth_seed, own_seed):
        """Draws Gaussian deviations from the mean, `[n] + mean.shape`."""
        num_observed, observed = 0, predicted.observed
        if observed is not None:
            # Observed and wanted steps are drawn together; then what the observed ones predict is subtracted.
            _, observed_poses, weights = self._observed()
            num_observed = ps.shape(predicted.cross)[-1]
            poses = tf.concat([broadcast_batch(observed_poses, 2, ps.shape(poses)[:-2]), poses], axis=-2)
        variance, correlation, noise = self._by_step()
        shape = ps.concat([shape[:-2], ps.shape(poses)[-2:-1], shape[-1:]], 0)
        smooth, own = (samplers.normal(shape, seed=seed, dtype=self.dtype) for seed in (smooth_seed, own_seed))
        root = decompose(self._own_similarity(poses)).cast(self.dtype).square_root()
        drawn = tf.sqrt(correlation) * mix_steps(root, smooth) + tf.sqrt(noise) * own
        wanted = drawn[..., num_observed:, :]
        if observed is not None:
            known = drawn[..., :num_observed, :]
            if weights is not None:
                known *= weights[..., tf.newaxis]
            rotated = mix_steps(tf.linalg.matrix_transpose(observed.spectrum.basis), known)
            solved = self._solve(observed.spectrum, observed.scales, rotated)
            wanted -= correlation * mix_steps(tf.cast(predicted.cross, self.dtype), solved)
        return tf.sqrt(variance) * wanted

    def _mean(self, conditional_input=None):
        return self._predict(self._broadcast_poses(conditional_input)).mean

    def _variance(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        variance = self._variance_at(poses, self._predict(poses))
        return tf.broadcast_to(variance, ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0))

    def _covariance(self, conditional_input=None):
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        poses = self._broadcast_poses(conditional_input)
        predicted, dimension = self._predict(poses), self._dimension()[0]
        if self._independent_targets:
            identity = tf.eye(ps.shape(poses)[-2], dtype=self.dtype)[..., tf.newaxis]
            return block_covariance(identity * self._variance_at(poses, predicted)[..., tf.newaxis, :, :])
        correlation, noise, scales = self._exact_scales(predicted.observed)
        correlation, noise = (value[..., 0, :, tf.newaxis, tf.newaxis] for value in (correlation, noise))
        within = expand_matrices(tf.cast(self._similarity(poses, poses), tf.float64), dimension)
        within = correlation * within + noise * tf.eye(ps.shape(poses)[-2], dtype=tf.float64)
        if scales is not None:
            cross = expand_matrices(predicted.cross, dimension)
            inverse = 1.0 / tf.linalg.matrix_transpose(scales)[..., tf.newaxis, :]
            # To first order in `off`, whose value is zero.
            off = correlation * expand_matrices(predicted.observed.exact.off, dimension)
            solved = cross * inverse
            solved -= tf.matmul(solved, off) * inverse
            within -= tf.square(correlation) * tf.matmul(solved, cross, transpose_b=True)
        scale = (vector(self._marginal_variance) * predicted.inflation)[..., tf.newaxis, tf.newaxis, :]
        return block_covariance(scale * steps_first(tf.cast(within, self.dtype)))

    def _entropy(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        predicted = self._predict(poses)
        if self._independent_targets:
            df = None if predicted.df is None else predicted.df[..., tf.newaxis, :]
            log_variance = tf.math.log(self._variance_at(poses, predicted))
            return tf.reduce_sum(radial.entropy(log_variance, tf.ones([], self.dtype), df), [-2, -1])
        # The determinant does not depend on the values.
        value = tf.zeros(ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0), self.dtype)
        log_det = self._whiten(*self._with_observations(value, poses, None)).log_det
        steps = tf.cast(ps.shape(poses)[-2], self.dtype)
        if predicted.observed is not None:
            log_det += steps * tf.math.log(predicted.inflation) - predicted.observed.log_det
        return tf.reduce_sum(radial.entropy(log_det, steps, predicted.df), axis=-1)


class PoseGaussianProcess(PoseProcess):
    """Vectors at poses, each dimension a Gaussian process whose correlation depends on the poses.

    One event has shape `[num_steps, D]`. The D dimensions are independent of each other. Permuting the (vector, pose)
    pairs leaves the density unchanged, and any subset of the pairs has the density of the same process.

    #### Mathematical Details

    For one dimension with mean `loc`, marginal variance `v`, correlation `rho` and `share = alpha`, n vectors at poses
    `v_1 ... v_n` are multivariate Gaussian with

    ```none
    covariance K_ij = v rho S_ij + v (1 - rho) delta_ij,   S_ij = alpha + (1 - alpha) k(v_i, v_j)
    ```

    With alpha = 1 this is `ExchangeableGaussianProcess`. Given observations with Gram matrix K and cross-covariance
    C, further vectors are Gaussian with `loc' = loc + C K^-1 (z - loc)` and `covariance' = K' - C K^-1 C^T`.

    One eigendecomposition of S serves all dimensions of a group, so density and conditioning cost `O(n^2 D + n^3)`.
    First derivatives are exact; second derivatives with respect to kernel, share and poses are not.

    #### Examples

    ```python
    kernel = tfp.math.psd_kernels.MaternOneHalf(length_scale=8.)
    process = tfp_bruno.distributions.PoseGaussianProcess(
        loc=tf.zeros(3), marginal_variance=tf.ones(3), correlation=0.9 * tf.ones(3), kernel=kernel, num_steps=9)
    subject = process.at(poses)                                                   # [9, P]
    z = subject.sample(seed=(1, 2))                                               # [9, 3]
    rest = process.posterior(z[:4], poses[:4], poses=poses[4:])                   # again such a process
    rest.log_prob(z[4:])                                                          # []
    rest.mean(conditional_input=other_poses)                                      # at other poses
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2. MIT
    Press, 2006. [2]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """


class PoseStudentTProcess(PoseProcess):
    """Vectors at poses, each dimension a Student-t process whose correlation depends on the poses.

    One event has shape `[num_steps, D]`. The D dimensions are independent of each other. Permuting the (vector, pose)
    pairs leaves the density unchanged, and any subset of the pairs has the density of the same process.

    #### Mathematical Details

    With the covariance K of `PoseGaussianProcess` and `df = nu`, n vectors of one dimension are multivariate Student-t
    with

    ```none
    beta = (z - loc)^T K^-1 (z - loc)
    log p(z_1..z_n) = lgamma((nu + n) / 2) - lgamma(nu / 2) - n/2 log(pi (nu - 2))
                      - 1/2 log|K| - (nu + n)/2 log(1 + beta / (nu - 2))
    ```

    K is the covariance; the scale matrix is `(nu - 2) / nu K`. With alpha = 1 this is `ExchangeableStudentTProcess`.
    Given n observations with Gram matrix K and cross-covariance C, further vectors are Student-t with

    ```none
    nu' = nu + n,   loc' = loc + C K^-1 (z - loc),   covariance' = (nu + beta - 2) / (nu + n - 2) (K' - C K^-1 C^T)
    ```

    #### References

    [1]: Amar Shah, Andrew Gordon Wilson, Zoubin Ghahramani. Student-t processes as alternatives to Gaussian processes.
    AISTATS 2014. [2]: Iryna Korshunova et al. BRUNO: a deep recurrent model for exchangeable data. NeurIPS 2018.
    """

    def __init__(
        self,
        df,
        loc,
        marginal_variance,
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
        """Constructs the process from the arguments of `PoseGaussianProcess` and the degrees of freedom.

        `df` is a floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it), above 2.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {'df': parameter('df', dtype), **super()._parameter_properties(dtype)}

    @property
    def df(self):
        """Degrees of freedom of the prior; given n observations they are `df + n`."""
        return self._df
