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

    One event has shape `[num_steps, D]`; the poses of its steps are given as `conditional_input` to every method. Permuting the
    (vector, pose) pairs leaves the density unchanged, and any subset of the pairs has the density of the same process.

    #### Mathematical Details

    ```none
    z_i = loc + L(v_i) h + r_i,         h ~ N(0, I_q),  independent of r
    cov(r_id, r_je) = delta_de scale_d^2 R_ij,   R_ij = s k(v_i, v_j) + (1 - s) delta_ij
    ```

    where `L(v) = v . loadings` is linear in the pose (a table of K matrices for one-hot poses), k is a positive semi-definite kernel over poses with k(v, v) = 1,
    and s = `smooth_share`. So `cov(z_i, z_j) = L(v_i) L(v_j)^T + R_ij diag(scale)^2`. With A = R^-1, E = (z - loc) / scale and M = L / scale,

    ```none
    P = I_q + sum_ij A_ij M_i^T M_j,   u = sum_ij A_ij M_i^T E_j
    -2 log p(z) = n D log(2 pi) + D log|R| + 2 n sum_d log(scale_d) + log|P| + sum_ij A_ij E_i . E_j - u^T P^-1 u
    ```

    by the matrix inversion lemma: `O(n D q (n + q))`, with one n x n and one q x q factorisation. Given observations at other poses,
    h ~ N(P^-1 u, P^-1), and the residual at the new poses is kriged from the residual seen.

    #### Examples

    ```python
    process = tfp_bruno.distributions.FactorGaussianProcess(
        loadings=loadings, scale=scale, kernel=kernel, smooth_share=0.9, num_steps=9)     # [P, D, q], [D]
    z = process.sample(seed=(1, 2), conditional_input=poses)                              # [9, D] at poses [9, P]
    rest = process.posterior(z[:4], num_steps=5, conditional_input=poses[:4])
    rest.mean(conditional_input=poses[4:])                                                # [5, D]
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2 and section A.3. MIT Press, 2006.
    [2]: Michael E. Tipping, Christopher M. Bishop. Probabilistic principal component analysis. JRSS B, 1999.
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
            observations: `Tensor` of shape `[B1, ..., Bb, n, D]`: vectors that the process is conditioned on. Default value: `None`.
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
        return ps.convert_to_shape_tensor([], dtype=tf.int32) if self._observations is None else ps.shape(
            self._observations
        )[:-2]

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
        scaled = tf.reshape(self._loadings / self._scale[:, tf.newaxis], [pose_size, dimension * factors])
        flat = tf.reshape(poses, [-1, pose_size]) @ scaled
        return tf.reshape(flat, ps.concat([ps.shape(poses)[:-1], [dimension, factors]], 0))

    def _whiten(self, value, poses):
        """Returns what density and posterior share.

        Args:
            value: `[..., n, D]`.
            poses: `[..., n, P]`.

        Returns:
            factor: Cholesky factor of R, `[..., n, n]`.
            errors: `factor^-1 E`, `[..., n D]`.
            loadings: `factor^-1 M`, `[..., n D, q]`.
        """
        _, dimension, factors = self._loadings.shape
        batch, steps = ps.shape(value)[:-2], ps.shape(value)[-2]
        factor = self._correlation_factor(poses)
        errors = tf.linalg.triangular_solve(factor, (value - self._loc) / self._scale)
        loadings = tf.reshape(self._scaled_loadings(poses), ps.concat([batch, [steps, dimension * factors]], 0))
        loadings = tf.linalg.triangular_solve(factor, loadings)
        flat = ps.concat([batch, [steps * dimension]], 0)
        return factor, tf.reshape(errors, flat), tf.reshape(loadings, ps.concat([flat, [factors]], 0))

    def _joint_log_prob(self, value, poses):
        factor, errors, loadings = self._whiten(value, poses)
        steps, dimension = tf.cast(ps.shape(value)[-2], self.dtype), tf.cast(self._scale.shape[-1], self.dtype)
        precision_factor, projected = _precision_factor(loadings, errors)
        explained = tf.linalg.triangular_solve(precision_factor, projected[..., tf.newaxis])
        log_det = 2.0 * dimension * _sum_log_diagonal(factor) + 2.0 * _sum_log_diagonal(precision_factor)
        log_det += 2.0 * steps * tf.reduce_sum(tf.math.log(self._scale))
        square = tf.reduce_sum(errors**2, -1) - tf.reduce_sum(explained**2, [-2, -1])
        return -0.5 * (steps * dimension * math.log(2.0 * math.pi) + log_det + square)

    def _log_prob(self, value, conditional_input=None):
        value, poses = self._check(value, conditional_input)
        if self._observations is None:
            return self._joint_log_prob(value, poses)
        joint = self._joint_log_prob(*self._with_observations(value, poses))
        return joint - self._joint_log_prob(tf.convert_to_tensor(self._observations), self._observed_poses)

    def _predictive(self, poses):
        """Returns mean `[..., n, D]`, loadings `[..., n, D, q]` of standard factors and factor of R at poses, all divided by scale."""
        loadings = self._scaled_loadings(poses)
        if self._observations is None:
            return tf.zeros(ps.shape(loadings)[:-1], self.dtype), loadings, self._correlation_factor(poses)
        factor, errors, seen = self._whiten(tf.convert_to_tensor(self._observations), self._observed_poses)
        precision_factor, projected = _precision_factor(seen, errors)
        factors_mean = tf.linalg.cholesky_solve(precision_factor, projected[..., tf.newaxis])
        # Kriging weights, in the whitened steps: R_to factor^-T.
        cross = self._correlation(self._observed_poses, poses)
        weights = tf.linalg.matrix_transpose(tf.linalg.triangular_solve(factor, cross))
        batch, steps = ps.shape(self._observations)[:-2], ps.shape(self._observations)[-2]
        _, dimension, factors = self._loadings.shape
        seen_steps = tf.reshape(seen, ps.concat([batch, [steps, dimension * factors]], 0))
        kriged = tf.reshape(weights @ seen_steps, ps.concat([ps.shape(weights)[:-1], [dimension, factors]], 0))
        loadings -= kriged
        mean = weights @ tf.reshape(errors, ps.concat([batch, [steps, dimension]], 0))
        mean += tf.einsum('...ndq,...q->...nd', loadings, factors_mean[..., 0])
        # Factors h = mean + C^-T e, with e standard: loadings of e.
        spread = tf.linalg.triangular_solve(
            precision_factor, tf.eye(factors, batch_shape=batch, dtype=self.dtype), adjoint=True
        )
        loadings = tf.einsum('...ndq,...qp->...ndp', loadings, spread)
        correlation = self._correlation(poses, poses) - weights @ tf.linalg.matrix_transpose(weights)
        own = 1.0 - self._smooth_share
        return mean, loadings, tf.linalg.cholesky(correlation + own * tf.eye(ps.shape(poses)[-2], dtype=self.dtype))

    def _broadcast_poses(self, conditional_input):
        poses = self._check_poses(conditional_input)
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        return tf.broadcast_to(poses, ps.concat([batch, ps.shape(poses)[-2:]], 0))

    def _mean(self, conditional_input=None):
        return self._loc + self._scale * self._predictive(self._broadcast_poses(conditional_input))[0]

    def _mode(self, conditional_input=None):
        return self._mean(conditional_input)

    def _variance(self, conditional_input=None):
        _, loadings, factor = self._predictive(self._broadcast_poses(conditional_input))
        own = tf.reduce_sum(factor**2, axis=-1)[..., tf.newaxis]
        return self._scale**2 * (tf.reduce_sum(loadings**2, axis=-1) + own)

    def _sample_n(self, n, seed=None, conditional_input=None):
        factor_seed, residual_seed = samplers.split_seed(seed, n=2, salt='factor_gaussian_process')
        mean, loadings, factor = self._predictive(self._broadcast_poses(conditional_input))
        factors_shape = ps.concat([[n], ps.shape(loadings)[:-3], ps.shape(loadings)[-1:]], 0)
        factors = samplers.normal(factors_shape, seed=factor_seed, dtype=self.dtype)
        noise = samplers.normal(ps.concat([[n], ps.shape(mean)], 0), seed=residual_seed, dtype=self.dtype)
        shared = tf.einsum('...ndq,s...q->s...nd', loadings, factors)
        return self._loc + self._scale * (mean + shared + factor @ noise)


def _sum_log_diagonal(factor):
    return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), -1)


def _precision_factor(loadings, errors):
    """Returns the Cholesky factor of P = I + M^T M, `[..., q, q]`, and u = M^T E, `[..., q]`."""
    precision = tf.linalg.matmul(loadings, loadings, transpose_a=True)
    precision += tf.eye(ps.shape(loadings)[-1], dtype=loadings.dtype)
    projected = tf.linalg.matvec(loadings, errors, transpose_a=True)
    return tf.linalg.cholesky(precision), projected
