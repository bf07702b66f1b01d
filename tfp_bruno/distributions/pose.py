"""Processes over poses: in each dimension on its own, vectors at near poses are the more correlated."""

import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.internal import samplers
from tensorflow_probability.python.math import psd_kernels

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._parameters import parameter, vector
from tfp_bruno.distributions._pose_dependence import PoseDependence
from tfp_bruno.distributions._shapes import (
    TensorLike,
    block_covariance,
    broadcast_batch,
    expand_groups,
    expand_matrices,
    mix_steps,
    steps_first,
    zero_missing,
)
from tfp_bruno.distributions._spectrum import Spectrum, decompose
from tfp_bruno.distributions.base import Process
from tfp_bruno.distributions.fitting import assign_moments, dimension_variance, fit_kernel


class _Whitened(typing.NamedTuple):
    """Vectors in the eigenbasis of the similarity of their poses.

    Attributes:
        exact: float64 `Spectrum` of the similarity.
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
        df: Degrees of freedom, `[..., 1, D]`, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[..., 1, D]`.
        mean: `[..., m, D]`.
        observed: The observations, or `None`.
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
    the prior (Matheron's rule), so no dimension needs a separate factorisation. Conditional variances are computed in
    float64, as they are differences of nearly equal numbers where the correlation is near 1.
    """

    _dimension_names = ('loc', 'marginal_variance', 'correlation', 'df')

    def __init__(
        self,
        loc: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        marginal_variance: TensorLike,
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
        """Constructs the process.

        Args:
            loc: Mean of every vector, `[B1, ..., Bb, D]` (or broadcastable to it); or a callable that maps poses
                `[..., n, P]` to `[..., n, D]`, for example a `PoseTable`.
            marginal_variance: Variance of every vector, positive, `[B1, ..., Bb, D]`.
            correlation: Correlation between two vectors at the same pose, in [0, 1), `[B1, ..., Bb, D]`.
            kernel: Kernel over poses, with `k(v, v) = 1`; with batch shape `[G]`, one for each of G groups of D / G
                neighbouring dimensions.
            constant_share: Share of the correlation that does not depend on the poses, in [0, 1], scalar or
                `[..., G]`.
            num_steps: Number of vectors of an event; `None`: one for each of `poses`.
            poses: Poses of the vectors of an event, `[..., num_steps, P]`; `None` leaves them to `at` or the argument
                `conditional_input` of every method.
            observations: Vectors that the process is conditioned on, `[..., n, D]`, see `posterior`.
            observed_poses: Poses of the observations, `[..., n, P]`.
            observations_is_missing: `[..., n]`, `True` where an observation is missing; `None`: none is.
            jitter: Smallest share of independent noise in the variance: it replaces a smaller `1 - correlation`, so
                that the covariance can be factorised. `None`: 32 units in the last place of 1, which are 3.8e-6 in
                float32 and 7.1e-15 in float64.
            independent_targets: Whether the steps of an event are drawn and scored independently of each other, as in
                the official code of Conditional BRUNO; conditioning is not changed.
            validate_args: Whether parameters, kernel and observations are checked at run time.
            allow_nan_stats: As for every distribution of TFP.
            name: `None`: the name of the class.

        Raises:
            ValueError: If shapes or dtypes do not fit each other, or the number of steps is not known.
            tf.errors.InvalidArgumentError: From a method, if the covariance is not positive definite.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        own = {name: parameter(name, dtype) for name in ('marginal_variance', 'correlation')}
        return {**own, **cls._pose_parameter_properties(dtype)}

    def fit(self, samples: np.ndarray, step: int = 1) -> None:
        """Sets the variables among the parameters to moments of samples, except `loc`, `df` and `constant_share`.

        Args:
            samples: `[S, n, D]`, float32, less `loc`: S subjects with n vectors each, at neighbouring slices.
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
    def marginal_variance(self) -> tf.Tensor:
        """Variance of every vector."""
        return self._marginal_variance

    @property
    def correlation(self) -> tf.Tensor:
        """Correlation between vectors at the same pose."""
        return self._correlation

    def _check_shapes(self) -> None:
        super()._check_shapes()
        self._check_kernel()

    def _by_step(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns variance, correlation and noise share, each `[..., 1, D]`."""
        variance, correlation = (
            vector(value)[..., tf.newaxis, :] for value in (self._marginal_variance, self._correlation)
        )
        return variance, correlation, self._noise_share(correlation)

    def _whiten(self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None) -> _Whitened:
        """Returns the whitened vectors `[..., n, D]` at poses `[..., n, P]`, with weights `[..., n]` or `None`."""
        variance, correlation, noise = self._by_step()
        deviations = (value - self._loc_at(poses)) * tf.math.rsqrt(variance)
        if weights is not None:
            deviations = zero_missing(deviations, weights)
        exact = decompose(self._own_similarity(poses, weights))
        spectrum, dimension = exact.cast(self.dtype), self._dimension()[0]
        scales = spectrum.scales(correlation, noise, dimension)
        self._assert_not_singular(tf.reduce_min(scales) <= 0.0)
        rotated = spectrum.rotate(deviations)
        solved = spectrum.solve(rotated, scales, correlation)
        steps = tf.cast(ps.shape(value)[-2], self.dtype)
        log_variance = tf.math.log(vector(self._marginal_variance))
        log_det = tf.reduce_sum(tf.math.log(scales), axis=-2) + steps * log_variance
        n = steps
        if weights is not None:
            # A missing step adds an independent number, of the variance of the noise, to the determinant.
            n = tf.reduce_sum(weights, axis=-1)[..., tf.newaxis]
            log_det -= (steps - n) * (log_variance + tf.math.log(noise[..., 0, :]))
        return _Whitened(exact, spectrum, scales, solved, n, tf.reduce_sum(rotated * solved, axis=-2), log_det)

    def _joint_log_prob(self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        df = self._degrees()
        whole = self._whiten(*self._with_observations(value, poses, weights))
        log_prob = radial.log_density(whole.log_det, whole.beta, whole.n, df)
        if self._observations is not None:
            observed = self._whiten(*self._observed())
            log_prob -= radial.log_density(observed.log_det, observed.beta, observed.n, df)
        return tf.reduce_sum(log_prob, axis=-1)

    def _predict(self, poses: tf.Tensor) -> _PredictiveMoments:
        """Returns the predictive moments at poses `[..., m, P]`."""
        df, loc = self._degrees(), self._loc_at(poses)
        if self._observations is None:
            shape = ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0)
            mean = tf.broadcast_to(loc, ps.broadcast_shape(ps.shape(loc), shape))
            df = None if df is None else df[..., tf.newaxis, :]
            return _PredictiveMoments(df, tf.ones([1, 1], self.dtype), mean, None, None)
        observations, observed_poses, weights = self._observed()
        observed = self._whiten(observations, observed_poses, weights)
        cross = self._similarity(poses, observed_poses)
        if weights is not None:
            cross *= weights[..., tf.newaxis, tf.newaxis, :]
        cross = tf.matmul(tf.cast(cross, tf.float64), observed.exact.basis)
        variance, correlation, _ = self._by_step()
        mean = loc + tf.sqrt(variance) * correlation * mix_steps(tf.cast(cross, self.dtype), observed.solved)
        inflation = radial.predictive_scale(observed.beta, observed.n, df)[..., tf.newaxis, :]
        df = None if df is None else (df + observed.n)[..., tf.newaxis, :]
        return _PredictiveMoments(df, inflation, mean, observed, cross)

    def _exact_by_step(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns correlation and noise share in float64, each `[..., 1, D]`."""
        _, correlation, noise = self._by_step()
        return tf.cast(correlation, tf.float64), tf.cast(noise, tf.float64)

    def _variance_at(self, poses: tf.Tensor, predicted: _PredictiveMoments) -> tf.Tensor:
        """Returns the variance `[..., m, D]` at poses."""
        (correlation, noise), dimension = self._exact_by_step(), self._dimension()[0]
        own = tf.cast(tf.linalg.diag_part(self._similarity(poses, poses)), tf.float64)
        relative = correlation * expand_groups(own, dimension) + noise
        if predicted.observed is not None:
            exact = predicted.observed.exact
            scales = exact.scales(correlation, noise, dimension)
            relative -= exact.explained_variance(predicted.cross, scales, correlation)
        variance, _, _ = self._by_step()
        return variance * predicted.inflation * tf.cast(relative, self.dtype)

    def _marginal_log_prob(self, value: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        predicted = self._predict(poses)
        variance = self._variance_at(poses, predicted)
        beta = tf.math.squared_difference(value, predicted.mean) / variance
        each = radial.log_density(tf.math.log(variance), beta, tf.ones([], self.dtype), predicted.df)
        return tf.reduce_sum(each, axis=-1)

    def _sample_n(
        self, n: TensorLike, seed: TensorLike = None, conditional_input: TensorLike | None = None
    ) -> tf.Tensor:
        poses = self._sampled_poses(conditional_input)
        mixing_seed, smooth_seed, own_seed = samplers.split_seed(seed, n=3, salt='pose_process')
        predicted = self._predict(poses)
        shape = ps.concat([[n], ps.shape(predicted.mean)], 0)
        if self._independent_targets:
            noise = samplers.normal(shape, seed=own_seed, dtype=self.dtype)
            deviations = tf.sqrt(self._variance_at(poses, predicted)) * noise
        else:
            deviations = self._deviations(poses, predicted, shape, smooth_seed, own_seed)
            deviations *= tf.sqrt(predicted.inflation)
            # One radius for all steps.
            shape = ps.concat([shape[:-2], [1], shape[-1:]], 0)
        return predicted.mean + radial.mixing(shape, predicted.df, mixing_seed, self.dtype) * deviations

    def _deviations(
        self,
        poses: tf.Tensor,
        predicted: _PredictiveMoments,
        shape: TensorLike,
        smooth_seed: TensorLike,
        own_seed: TensorLike,
    ) -> tf.Tensor:
        """Draws Gaussian deviations from the mean, `[n] + mean.shape`, by Matheron's rule."""
        num_observed, observed = 0, predicted.observed
        if observed is not None:
            # Observed and wanted steps are drawn together; then the prediction from the observed ones is subtracted.
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
            solved = observed.spectrum.solve(observed.spectrum.rotate(known), observed.scales, correlation)
            wanted -= correlation * mix_steps(tf.cast(predicted.cross, self.dtype), solved)
        return tf.sqrt(variance) * wanted

    def _mean(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self._predict(self._broadcast_poses(conditional_input)).mean

    def _variance(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        poses = self._broadcast_poses(conditional_input)
        variance = self._variance_at(poses, self._predict(poses))
        return tf.broadcast_to(variance, ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0))

    def _covariance(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        poses = self._broadcast_poses(conditional_input)
        predicted, dimension = self._predict(poses), self._dimension()[0]
        identity = tf.eye(ps.shape(poses)[-2], dtype=tf.float64)
        if self._independent_targets:
            variance = self._variance_at(poses, predicted)[..., tf.newaxis, :, :]
            return block_covariance(tf.cast(identity, self.dtype)[..., tf.newaxis] * variance)
        by_step = self._exact_by_step()
        correlation, noise = (value[..., 0, :, tf.newaxis, tf.newaxis] for value in by_step)
        similarity = expand_matrices(tf.cast(self._similarity(poses, poses), tf.float64), dimension)
        within = correlation * similarity + noise * identity
        if predicted.observed is not None:
            exact = predicted.observed.exact
            within -= exact.explained_covariance(predicted.cross, exact.scales(*by_step, dimension), by_step[0])
        scale = (self._by_step()[0] * predicted.inflation)[..., tf.newaxis, :]
        return block_covariance(scale * steps_first(tf.cast(within, self.dtype)))

    def _entropy(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        poses = self._broadcast_poses(conditional_input)
        predicted = self._predict(poses)
        if self._independent_targets:
            log_variance = tf.math.log(self._variance_at(poses, predicted))
            return tf.reduce_sum(radial.entropy(log_variance, tf.ones([], self.dtype), predicted.df), [-2, -1])
        # The determinant does not depend on the values.
        value = tf.zeros(ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0), self.dtype)
        log_det = self._whiten(*self._with_observations(value, poses, None)).log_det[..., tf.newaxis, :]
        steps = tf.cast(ps.shape(poses)[-2], self.dtype)
        if predicted.observed is not None:
            log_det += steps * tf.math.log(predicted.inflation) - predicted.observed.log_det[..., tf.newaxis, :]
        return tf.reduce_sum(radial.entropy(log_det, steps, predicted.df), axis=[-2, -1])
