"""What the factor processes share: density, samples and moments."""

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.internal import samplers

from tfp_bruno.distributions import radial
from tfp_bruno.distributions.steps import block_covariance, expand_groups, mix_steps
from tfp_bruno.distributions.subject_factors import SubjectFactors, information

__all__ = ['FactorProcess']


class FactorProcess(SubjectFactors):
    """Density, samples and moments of `z_i = loc + L(v_i) h + r_i`, on the algebra of `SubjectFactors`."""

    def _joint_log_prob(self, value, mask, conditional_input=None):
        poses = self._poses_of(value, conditional_input)
        return self._log_density(value, poses, mask, self._see(poses))

    def _log_prob_and_mean(self, value, poses):
        if self._independent_targets:
            return super()._log_prob_and_mean(value, poses)
        seen, first = self._see(poses), self._poses_of(value, poses[..., : ps.shape(value)[-2], :])
        return self._log_density(value, first, None, seen), self._mean_at(poses, seen)

    def _log_density(self, value, poses, mask, seen):
        """Returns the log-density of vectors `[..., n, D]` at poses `[..., n, P]`, given what is `_Seen`."""
        df = self._parameter_of_all('df')
        before, whole = self._moments(value, poses, mask, seen)
        if df is None:
            # The difference of what was seen and of everything, term by term.
            return radial.log_density(whole.log_det - before.log_det, whole.beta - before.beta, whole.n - before.n)
        whole_log_prob = radial.log_density(whole.log_det, whole.beta, whole.n, df)
        return whole_log_prob - radial.log_density(before.log_det, before.beta, before.n, df)

    def _step_variance(self, known):
        """Returns the residual's variance of each step, `[..., m, D]` (or `[..., m, 1]`)."""
        return expand_groups(tf.linalg.diag_part(known.residual), self._dimension()[0])

    def _marginal_log_prob(self, value, conditional_input=None):
        poses = self._poses_of(value, conditional_input)
        known = self._know(poses, self._see(poses))
        own = self._step_variance(known)
        errors = (value - self._loc_at(poses)) / self._deviation_scale() - known.mean
        errors, loadings = errors * tf.math.rsqrt(own), known.loadings() * tf.math.rsqrt(own)[..., tf.newaxis]
        precision = tf.matmul(loadings, loadings, transpose_a=True)
        log_det, explained = information(precision, tf.linalg.matvec(loadings, errors, transpose_a=True))
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        inflation = known.inflation[..., tf.newaxis]
        log_variance = tf.math.log(own) + tf.math.log(self._parameter('variance'))[..., tf.newaxis, :]
        log_det += tf.reduce_sum(log_variance, -1) + dimension * tf.math.log(inflation)
        beta = (tf.reduce_sum(tf.square(errors), -1) - explained) / inflation
        df = None if known.df is None else known.df[..., tf.newaxis]
        return radial.log_density(log_det, beta, dimension, df)

    def _sample_n(
        self, n, seed=None, conditional_input=None, narrows_factors=True, factor_scale=1.0, factor_evidence=1.0
    ):
        """Draws samples.

        Three arguments, a Python `bool` and two `float`s, make what all slices have in common wider than the density
        has it, about the same mean:

        * A Student-t has one radius for factors and residual; where the residual has more variance than the data, the
          observations, which are many numbers, narrow both. Without `narrows_factors` they narrow the residual alone.
        * `factor_scale` multiplies the factors' standard deviations before anything is observed.
        * The residual takes neighbouring pixels to err on their own. They err together, so the observations tell less
          of the factors than their number says: `factor_evidence`, in (0, 1], weighs their log-likelihood in the
          factors' covariance, as in a power posterior (Grunwald, "The Safe Bayesian", 2012).
        """
        poses = self._sampled_poses(conditional_input)
        known = self._know(poses, self._see(poses), factor_scale, factor_evidence)
        mixing_seed, factor_seed, residual_seed = samplers.split_seed(seed, n=3, salt='factor_process')
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        mean_shape = ps.concat([batch, ps.shape(poses)[-2:-1], self._dimension_tensor()], 0)
        shape = ps.concat([[n], mean_shape], 0)
        noise = samplers.normal(shape, seed=residual_seed, dtype=self.dtype)
        # With independent targets, every step has factors and a mixing of its own.
        steps = shape[-2] if self._independent_targets else 1
        shared_shape = ps.concat([shape[:-2], [steps]], 0)
        factors_shape = ps.concat([shared_shape, [known.num_factors]], 0)
        factors = samplers.normal(factors_shape, seed=factor_seed, dtype=self.dtype)
        if not narrows_factors:
            factors *= tf.math.rsqrt(known.inflation)[..., tf.newaxis, tf.newaxis]
        df = None if known.df is None else known.df[..., tf.newaxis]
        mixing = radial.mixing(shared_shape, df, mixing_seed, self.dtype)
        mixing *= tf.sqrt(known.inflation)[..., tf.newaxis]
        if self._independent_targets:
            residual = tf.sqrt(self._step_variance(known)) * noise
            deviations = tf.einsum('...ndq,s...nq->s...nd', known.loadings(), factors) + residual
        else:
            root = tf.cast(tf.linalg.cholesky(tf.cast(known.residual, tf.float64)), self.dtype)
            residual = mix_steps(root, noise)
            deviations = known.show(factors[..., 0, :]) + residual
        scaled = known.mean + mixing[..., tf.newaxis] * deviations
        return self._loc_at(poses) + self._deviation_scale() * scaled

    def _mean(self, conditional_input=None):
        poses = self._given_poses(conditional_input)
        return self._mean_at(poses, self._see(poses))

    def _mean_at(self, poses, seen):
        """Returns the mean `[..., m, D]` at poses `[..., m, P]`, given what is `_Seen`."""
        mean = self._loc_at(poses) + self._deviation_scale() * self._know(poses, seen).mean
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        return tf.broadcast_to(mean, ps.concat([batch, ps.shape(mean)[-2:]], 0))

    def _variance(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        known = self._know(poses, self._see(poses))
        relative = tf.reduce_sum(tf.square(known.loadings()), axis=-1) + self._step_variance(known)
        return tf.square(self._deviation_scale()) * known.inflation[..., tf.newaxis, tf.newaxis] * relative

    def _covariance(self, conditional_input=None):
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        poses = self._broadcast_poses(conditional_input)
        known = self._know(poses, self._see(poses))
        loadings = known.loadings()
        shape = ps.shape(loadings)
        flat = ps.concat([shape[:-3], [shape[-3] * shape[-2]]], 0)
        loadings = tf.reshape(loadings, ps.concat([flat, shape[-1:]], 0))
        by_factors = tf.matmul(loadings, loadings, transpose_b=True)
        identity = tf.eye(shape[-3], dtype=self.dtype)
        rank = known.residual.shape.rank
        within = tf.transpose(known.residual, [*range(rank - 3), rank - 2, rank - 1, rank - 3])
        within = tf.repeat(within, self._dimension()[0] // within.shape[-1], axis=-1)
        if self._independent_targets:
            within *= identity[..., tf.newaxis]
            by_factors *= tf.repeat(tf.repeat(identity, shape[-2], axis=0), shape[-2], axis=1)
        deviations = tf.reshape(tf.broadcast_to(self._deviation_scale(), shape[:-1]), flat)
        scale = deviations[..., :, tf.newaxis] * deviations[..., tf.newaxis, :]
        scale *= known.inflation[..., tf.newaxis, tf.newaxis]
        return scale * (by_factors + block_covariance(within))

    def _entropy(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        seen = self._see(poses)
        known = self._know(poses, seen)
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        steps = tf.cast(ps.shape(poses)[-2], self.dtype)
        value = tf.zeros(ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0), self.dtype)
        if self._independent_targets:
            df = None if known.df is None else known.df[..., tf.newaxis]
            own = self._step_variance(known)
            loadings = known.loadings() * tf.math.rsqrt(own)[..., tf.newaxis]
            precision = tf.matmul(loadings, loadings, transpose_a=True)
            log_det, _ = information(precision, tf.zeros_like(precision[..., 0]))
            log_variance = tf.math.log(own) + tf.math.log(self._parameter('variance'))[..., tf.newaxis, :]
            log_det += tf.reduce_sum(log_variance, -1) + dimension * tf.math.log(known.inflation)[..., tf.newaxis]
            return tf.reduce_sum(radial.entropy(log_det, dimension, df), -1)
        # The determinant does not depend on the values.
        before, whole = self._moments(value, poses, None, seen)
        n = steps * dimension
        log_det = whole.log_det - before.log_det + n * tf.math.log(known.inflation)
        return radial.entropy(log_det, n, known.df)
