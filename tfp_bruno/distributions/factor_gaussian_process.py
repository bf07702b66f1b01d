"""A Gaussian process over poses with factors of the subject: what ties the slices of one volume together."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import (
    dtype_util,
    parameter_properties,
    reparameterization,
    samplers,
    tensor_util,
)
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['FactorGaussianProcess']


class FactorGaussianProcess(tfd.Distribution):
    """Vectors at poses: a few factors of the subject, loaded by pose, plus a residual that is smooth over poses.

    One event has shape `[num_steps, D]`; the poses of its steps are given as `conditional_input` to every method.
    Permuting the (vector, pose) pairs leaves the density unchanged, and any subset of the pairs has the density of
    the same process.

    #### Mathematical Details

    ```none
    z_i = loc + L(v_i) h + r_i,         h ~ N(0, I_q),  independent of r
    cov(r_id, r_je) = delta_de scale_d^2 R_ij,   R_ij = s k(v_i, v_j) + (1 - s) delta_ij
    ```

    where `L(v) = v . loadings` is linear in the pose (a table of K matrices for one-hot poses), k is a positive
    semi-definite kernel over poses with k(v, v) = 1, and s = `smooth_share`. So `cov(z_i, z_j) = L(v_i) L(v_j)^T +
    R_ij diag(scale)^2`. With A = R^-1, E = (z - loc) / scale and M = L / scale,

    ```none
    P = I_q + sum_ij A_ij M_i^T M_j,   u = sum_ij A_ij M_i^T E_j
    -2 log p(z) = n D log(2 pi) + D log|R| + 2 n sum_d log(scale_d) + log|P| + sum_ij A_ij E_i . E_j - u^T P^-1 u
    ```

    by the matrix inversion lemma: `O(n D q (n + q))`, with one n x n and one q x q factorisation. Given observations
    at other poses, h ~ N(P^-1 u, P^-1), and the residual at the new poses is kriged from the residual seen.

    #### Examples

    ```python
    process = tfp_bruno.distributions.FactorGaussianProcess(
        loadings=loadings, scale=scale, kernel=kernel, smooth_share=0.9, num_steps=9)     # [P, D, q], [D]
    z = process.sample(seed=(1, 2), conditional_input=poses)                              # [9, D] at poses [9, P]
    rest = process.posterior(z[:4], num_steps=5, conditional_input=poses[:4])
    rest.mean(conditional_input=poses[4:])                                                # [5, D]
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2 and
    section A.3. MIT Press, 2006. [2]: Michael E. Tipping, Christopher M. Bishop. Probabilistic principal component
    analysis. JRSS B, 1999.
    """

    # The density depends on the poses: `ConditionalBruno` hands them on.
    needs_poses = True

    def __init__(
        self,
        loadings,
        scale,
        kernel,
        smooth_share,
        num_steps,
        loc=0.0,
        observations=None,
        observed_poses=None,
        validate_args=False,
        allow_nan_stats=True,
        name='FactorGaussianProcess',
    ):
        """Constructs the process.

        Args:
            loadings: Floating-point `Tensor` of shape `[P, D, q]`.
            scale: Positive `Tensor` of shape `[D]`: standard deviation of the residual.
            kernel: `tfp.math.psd_kernels.PositiveSemidefiniteKernel` over poses `[P]`, with k(v, v) = 1.
            smooth_share: Scalar `Tensor` in [0, 1): share of the residual's variance that follows the kernel.
            num_steps: `int`, number of vectors of an event.
            loc: `Tensor` of shape `[D]` or scalar. Default value: `0.`.
            observations: `Tensor` of shape `[B1, ..., Bb, n, D]`: vectors that the process is conditioned on. Default
                value: `None`.
            observed_poses: `Tensor` of shape `[B1, ..., Bb, n, P]`. Default value: `None`.
            validate_args: Python `bool`: whether values are checked at run time. Default value: `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `'FactorGaussianProcess'`.

        Raises:
            ValueError: if shapes do not fit each other.
        """
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            dtype = dtype_util.common_dtype([loadings, scale, observations], tf.float32)
            self._loadings = tensor_util.convert_nonref_to_tensor(loadings, name='loadings', dtype=dtype)
            self._scale = tensor_util.convert_nonref_to_tensor(scale, name='scale', dtype=dtype)
            self._smooth_share = tensor_util.convert_nonref_to_tensor(smooth_share, name='smooth_share', dtype=dtype)
            self._loc = tensor_util.convert_nonref_to_tensor(loc, name='loc', dtype=dtype)
            self._kernel = kernel
            self._num_steps = num_steps
            self._observations = observations
            self._observed_poses = observed_poses
            if self._loadings.shape[-2:-1] != self._scale.shape[-1:]:
                raise ValueError(
                    f'`loadings` {self._loadings.shape} must be [P, D, q] for `scale` {self._scale.shape} of [D].'
                )
            super().__init__(
                dtype=dtype,
                reparameterization_type=reparameterization.FULLY_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            'loadings': parameter_properties.ParameterProperties(event_ndims=3),
            'scale': parameter_properties.ParameterProperties(event_ndims=1),
            'kernel': parameter_properties.BatchedComponentProperties(),
            'smooth_share': parameter_properties.ParameterProperties(),
            'loc': parameter_properties.ParameterProperties(event_ndims=1),
            'num_steps': parameter_properties.ShapeParameterProperties(),
            'observations': parameter_properties.ParameterProperties(event_ndims=2),
            'observed_poses': parameter_properties.ParameterProperties(event_ndims=2),
        }

    @property
    def loadings(self):
        """Loadings of the subject's factors, `[P, D, q]`."""
        return self._loadings

    @property
    def scale(self):
        """Standard deviation of the residual, `[D]`."""
        return self._scale

    @property
    def smooth_share(self):
        """Share of the residual's variance that follows the kernel."""
        return self._smooth_share

    @property
    def kernel(self):
        """Kernel over poses."""
        return self._kernel

    @property
    def loc(self):
        """Mean of every vector."""
        return self._loc

    @property
    def num_steps(self):
        """Number of vectors of an event."""
        return self._num_steps

    def _batch_shape(self):
        return tf.TensorShape([]) if self._observations is None else self._observations.shape[:-2]

    def _batch_shape_tensor(self):
        return (
            ps.convert_to_shape_tensor([], dtype=tf.int32)
            if self._observations is None
            else ps.shape(self._observations)[:-2]
        )

    def _event_shape(self):
        return tf.TensorShape([tf.get_static_value(self._num_steps), self._scale.shape[-1]])

    def _event_shape_tensor(self):
        return ps.stack([self._num_steps, ps.shape(self._scale)[-1]])

    def posterior(self, observations, num_steps, conditional_input=None, name=None):
        """Returns the process of further vectors, given some at known poses.

        Args:
            observations: `Tensor` of shape `[..., n, D]`, n >= 0.
            num_steps: `int`, the number of steps of the result.
            conditional_input: `Tensor` of shape `[..., n, P]`: the poses of the observations.
            name: Python `str`. Default value: `None`, this process' name.

        Returns:
            A `FactorGaussianProcess` that remembers the observations.

        Raises:
            ValueError: if the poses are missing or a shape does not fit.
        """
        observations, poses = self._check(observations, conditional_input)
        if self._observations is not None:
            observations, poses = self._with_observations(observations, poses)
        changed = {'observations': observations, 'observed_poses': poses, 'num_steps': num_steps}
        return self.copy(name=name or self._name.rstrip('/'), **changed)

    def _check(self, value, poses):
        dimension, pose_size = self._scale.shape[-1], self._loadings.shape[-3]
        if poses is None:
            raise ValueError(f'{self.name} needs `conditional_input`, the poses of shape [..., n, {pose_size}].')
        value = tf.convert_to_tensor(value, dtype=self.dtype)
        poses = self._check_poses(poses)
        if not value.shape[-1:].is_compatible_with([dimension]) or value.shape.rank < 2:
            raise ValueError(f'{self.name}: vectors must have shape [..., n, {dimension}], got {value.shape}.')
        if not value.shape[-2:-1].is_compatible_with(poses.shape[-2:-1]):
            raise ValueError(
                f'{self.name}: there must be one pose per vector, got poses {poses.shape} and vectors {value.shape}.'
            )
        return value, tf.broadcast_to(poses, ps.concat([ps.shape(value)[:-1], [pose_size]], 0))

    def _check_poses(self, poses):
        pose_size = self._loadings.shape[-3]
        if poses is None:
            raise ValueError(f'{self.name} needs `conditional_input`, the poses of shape [..., n, {pose_size}].')
        poses = tf.convert_to_tensor(poses, dtype=self.dtype)
        if not poses.shape[-1:].is_compatible_with([pose_size]) or poses.shape.rank < 2:
            raise ValueError(f'{self.name}: poses must have shape [..., n, {pose_size}], got {poses.shape}.')
        return poses

    def _with_observations(self, value, poses):
        """Returns the observations and their poses, then the given ones, along the steps."""
        batch = ps.broadcast_shape(ps.shape(self._observations)[:-2], ps.shape(value)[:-2])
        joined = []
        for first, second in ((self._observations, value), (self._observed_poses, poses)):
            parts = [tf.broadcast_to(part, ps.concat([batch, ps.shape(part)[-2:]], 0)) for part in (first, second)]
            joined.append(tf.concat(parts, axis=-2))
        return joined

    def _correlation(self, poses_a, poses_b):
        """Returns the smooth part of R between two sets of poses, `[..., n, m]`."""
        return self._smooth_share * self._kernel.matrix(poses_a, poses_b)

    def _correlation_factor(self, poses):
        """Returns the Cholesky factor of R at poses `[..., n, P]`."""
        correlation = self._correlation(poses, poses)
        own = (1.0 - self._smooth_share) * tf.eye(ps.shape(poses)[-2], dtype=self.dtype)
        return tf.linalg.cholesky(correlation + own)

    def _scaled_loadings(self, poses):
        """Returns L(v) / scale at poses `[..., n, P]`, as `[..., n, D, q]`."""
        pose_size, dimension, factors = self._loadings.shape
        table = tf.reshape(self._loadings, [pose_size, dimension * factors])
        loadings = tf.reshape(poses, [-1, pose_size]) @ table
        loadings = tf.reshape(loadings, ps.concat([ps.shape(poses)[:-1], [dimension, factors]], 0))
        return loadings / self._scale[:, tf.newaxis]

    def _whiten(self, value, poses):
        """Returns what density and posterior share.

        Args:
            value: `[..., n, D]`.
            poses: `[..., n, P]`.

        Returns:
            factor: Cholesky factor of R, `[..., n, n]`.
            whitener: Its inverse.
            errors: `factor^-1 E`, `[..., n, D]`.
            loadings: `factor^-1 M`, `[..., n, D, q]`.
        """
        factor = self._correlation_factor(poses)
        batch, steps = ps.shape(value)[:-2], ps.shape(value)[-2]
        # A product with the small inverse is several times faster than a triangular solve with this many columns.
        whitener = tf.linalg.triangular_solve(factor, tf.eye(steps, batch_shape=batch, dtype=self.dtype))
        errors = whitener @ ((value - self._loc) / self._scale)
        return factor, whitener, errors, _mix_steps(whitener, self._scaled_loadings(poses))

    def _log_density(self, value, poses, num_seen):
        """Returns the log-density of the vectors after the first `num_seen`, given those.

        A Cholesky factor whitens one step after the other, so the first steps' quantities are those of the first
        steps alone.
        """
        factor, _, errors, loadings = self._whiten(value, poses)
        dimension = tf.cast(self._scale.shape[-1], self.dtype)
        num_new = tf.cast(ps.shape(value)[-2] - num_seen, self.dtype)
        seen_precision, seen_projected = _precision(loadings[..., :num_seen, :, :], errors[..., :num_seen, :])
        new_precision, new_projected = _precision(loadings[..., num_seen:, :, :], errors[..., num_seen:, :])
        identity = tf.eye(ps.shape(seen_precision)[-1], dtype=self.dtype)
        before = _information(identity + seen_precision, seen_projected)
        after = _information(identity + seen_precision + new_precision, seen_projected + new_projected)
        diagonal = tf.linalg.diag_part(factor)[..., num_seen:]
        log_det = 2.0 * dimension * tf.reduce_sum(tf.math.log(diagonal), -1) + after[0] - before[0]
        log_det += 2.0 * num_new * tf.reduce_sum(tf.math.log(self._scale))
        square = tf.reduce_sum(errors[..., num_seen:, :] ** 2, [-2, -1]) - (after[1] - before[1])
        return -0.5 * (num_new * dimension * math.log(2.0 * math.pi) + log_det + square)

    def _log_prob(self, value, conditional_input=None):
        value, poses = self._check(value, conditional_input)
        if self._observations is None:
            return self._log_density(value, poses, 0)
        return self._log_density(*self._with_observations(value, poses), ps.shape(self._observations)[-2])

    def _condition(self, poses):
        """Returns the state of knowledge at poses `[..., m, P]`.

        Returns:
            weights: Kriging weights of the whitened residuals, `[..., m, n]`.
            errors: `[..., n, D]` and
            seen: `[..., n, D, q]`, the whitened observations and loadings.
            precision_factor: Cholesky factor of the precision of the subject's factors, `[..., q, q]`.
            factors_mean: Their mean, `[..., q]`.
        """
        observations = tf.convert_to_tensor(self._observations)
        _, whitener, errors, seen = self._whiten(observations, self._observed_poses)
        precision, projected = _precision(seen, errors)
        precision_factor = tf.linalg.cholesky(precision + tf.eye(ps.shape(precision)[-1], dtype=self.dtype))
        factors_mean = tf.linalg.cholesky_solve(precision_factor, projected[..., tf.newaxis])[..., 0]
        cross = self._correlation(self._observed_poses, poses)
        weights = tf.linalg.matrix_transpose(whitener @ cross)
        return weights, errors, seen, precision_factor, factors_mean

    def _predictive_mean(self, poses):
        """Returns the mean at poses, `(mean - loc) / scale`, `[..., m, D]`."""
        loadings = self._scaled_loadings(poses)
        if self._observations is None:
            return tf.zeros(ps.shape(loadings)[:-1], self.dtype)
        weights, errors, seen, _, factors_mean = self._condition(poses)
        explained = tf.einsum('...ndq,...q->...nd', seen, factors_mean)
        return tf.einsum('...ndq,...q->...nd', loadings, factors_mean) + weights @ (errors - explained)

    def _predictive_spread(self, poses):
        """Returns scaled loadings `[..., m, D, q]` of independent standard factors, and a factor of R, at poses."""
        loadings = self._scaled_loadings(poses)
        if self._observations is None:
            return loadings, self._correlation_factor(poses)
        weights, _, seen, precision_factor, _ = self._condition(poses)
        loadings -= _mix_steps(weights, seen)
        # The subject's factors are mean + C^-T e, e standard, where C is the factor of their precision.
        identity = tf.eye(ps.shape(precision_factor)[-1], dtype=self.dtype)
        spread = tf.linalg.triangular_solve(precision_factor, tf.broadcast_to(identity, ps.shape(precision_factor)))
        loadings = tf.linalg.matmul(loadings, spread[..., tf.newaxis, :, :], transpose_b=True)
        correlation = self._correlation(poses, poses) - tf.linalg.matmul(weights, weights, transpose_b=True)
        correlation += (1.0 - self._smooth_share) * tf.eye(ps.shape(poses)[-2], dtype=self.dtype)
        return loadings, tf.linalg.cholesky(correlation)

    def _broadcast_poses(self, conditional_input):
        poses = self._check_poses(conditional_input)
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        return tf.broadcast_to(poses, ps.concat([batch, ps.shape(poses)[-2:]], 0))

    def _mean(self, conditional_input=None):
        return self._loc + self._scale * self._predictive_mean(self._broadcast_poses(conditional_input))

    def _mode(self, conditional_input=None):
        return self._mean(conditional_input)

    def _variance(self, conditional_input=None):
        loadings, factor = self._predictive_spread(self._broadcast_poses(conditional_input))
        own = tf.reduce_sum(factor**2, axis=-1)[..., tf.newaxis]
        return self._scale**2 * (tf.reduce_sum(loadings**2, axis=-1) + own)

    def _sample_n(self, n, seed=None, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        factor_seed, residual_seed = samplers.split_seed(seed, n=2, salt='factor_gaussian_process')
        mean = self._predictive_mean(poses)
        loadings, factor = self._predictive_spread(poses)
        factors_shape = ps.concat([[n], ps.shape(loadings)[:-3], ps.shape(loadings)[-1:]], 0)
        factors = samplers.normal(factors_shape, seed=factor_seed, dtype=self.dtype)
        noise = samplers.normal(ps.concat([[n], ps.shape(mean)], 0), seed=residual_seed, dtype=self.dtype)
        shared = tf.einsum('...ndq,s...q->s...nd', loadings, factors)
        return self._loc + self._scale * (mean + shared + factor @ noise)


def _mix_steps(matrix, loadings):
    """Applies a matrix `[..., m, n]` over the steps of loadings `[..., n, D, q]`."""
    shape = ps.shape(loadings)
    flat = tf.reshape(loadings, ps.concat([shape[:-2], [shape[-2] * shape[-1]]], 0))
    return tf.reshape(matrix @ flat, ps.concat([ps.shape(matrix)[:-1], shape[-2:]], 0))


def _precision(loadings, errors):
    """Returns what whitened steps tell of the factors: M^T M `[..., q, q]` and M^T E `[..., q]`."""
    shape = ps.shape(loadings)
    flat = tf.reshape(loadings, ps.concat([shape[:-3], [shape[-3] * shape[-2], shape[-1]]], 0))
    errors = tf.reshape(errors, ps.concat([ps.shape(errors)[:-2], [shape[-3] * shape[-2]]], 0))
    return tf.linalg.matmul(flat, flat, transpose_a=True), tf.linalg.matvec(flat, errors, transpose_a=True)


def _information(precision, projected):
    """Returns log|P| and u^T P^-1 u."""
    factor = tf.linalg.cholesky(precision)
    solved = tf.linalg.triangular_solve(factor, projected[..., tf.newaxis])
    return 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), -1), tf.reduce_sum(solved**2, [-2, -1])
