"""What the pose processes share: independent dimensions, neighbouring poses correlated more than distant ones."""

import typing

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.internal import samplers

from tfp_bruno.distributions import radial
from tfp_bruno.distributions.pose_conditioned_process import PoseConditionedProcess
from tfp_bruno.distributions.spectrum import Spectrum, decompose
from tfp_bruno.distributions.steps import block_covariance, expand_groups, mix_steps

__all__ = ['PoseProcess']


class _Fit(typing.NamedTuple):
    """Vectors in the eigenbasis of the similarity of their poses.

    Attributes:
        spectrum: `Spectrum` of the similarity, one for each of G groups.
        scales: Eigenvalues of K / variance, `[..., n, D]`.
        solved: `(K / variance)^-1 (z - loc) / sd` in that basis, `[..., n, D]`.
        n: Number of vectors that count, broadcastable to `[..., D]`.
        beta: `(z - loc)^T K^-1 (z - loc)` of each dimension, `[..., D]`.
        log_det: log|K| of each dimension, `[..., D]`.
    """

    spectrum: Spectrum
    scales: tf.Tensor
    solved: tf.Tensor
    n: tf.Tensor
    beta: tf.Tensor
    log_det: tf.Tensor


class _Knowledge(typing.NamedTuple):
    """What the observations tell of vectors at other poses.

    Attributes:
        df: Degrees of freedom given the observations, or `None`.
        inflation: Factor of the Gaussian's conditional covariance, `[..., D]`.
        mean: `[..., m, D]`.
        fit: `_Fit` of the observations, or `None`.
        cross: Similarity of the poses with the observed ones, in the eigenbasis, `[..., G, m, n]`, or `None`.
    """

    df: tf.Tensor | None
    inflation: tf.Tensor
    mean: tf.Tensor
    fit: _Fit | None
    cross: tf.Tensor | None


class PoseProcess(PoseConditionedProcess):
    """Independent dimensions with `K_ij = variance (correlation S_ij + (1 - correlation) delta_ij)`.

    `S_ij = share + (1 - share) k(v_i, v_j)` is common to all dimensions of a group, so one n x n eigendecomposition
    `S = Q diag(lambda) Q^T` makes every K diagonal: its eigenvalues are `variance (correlation lambda + 1 -
    correlation)`, and density and conditioning cost `O(n^2 D)`. Samples are drawn by conditioning joint samples of
    the prior (Matheron's rule), so no dimension needs a factorisation of its own.
    """

    @property
    def correlation(self):
        """Correlation between vectors at the same pose."""
        return self._correlation_parameter

    def _by_step(self, name):
        return self._parameter(name)[..., tf.newaxis, :]

    def _scales(self, values):
        """Returns the eigenvalues `[..., n, D]` of K / variance, given those of S `[..., G, n]`."""
        correlation = self._by_step('correlation')
        return correlation * expand_groups(values, self._dimension()[0]) + (1.0 - correlation)

    def _solve(self, spectrum, scales, rotated):
        """Returns `(K / variance)^-1` times vectors, both in the eigenbasis."""
        solved = rotated / scales
        return solved - self._by_step('correlation') / scales * mix_steps(spectrum.off, solved)

    def _fit(self, value, poses, weights):
        """Returns the `_Fit` of vectors `[..., n, D]` at poses `[..., n, P]`, with a mask `[..., n]` or `None`."""
        deviations = (value - self._loc_at(poses)) * tf.math.rsqrt(self._by_step('variance'))
        if weights is not None:
            # Not a product: what is masked may be NaN.
            deviations = tf.where(weights[..., tf.newaxis] > 0.0, deviations, tf.zeros([], self.dtype))
        spectrum = decompose(self._own_similarity(poses, weights))
        scales = self._scales(spectrum.values)
        rotated = mix_steps(tf.linalg.matrix_transpose(spectrum.basis), deviations)
        solved = self._solve(spectrum, scales, rotated)
        steps = tf.cast(ps.shape(value)[-2], self.dtype)
        log_variance = tf.math.log(self._parameter('variance'))
        log_det = tf.reduce_sum(tf.math.log(scales), axis=-2) + steps * log_variance
        n = steps
        if weights is not None:
            # A masked step adds an independent number of variance `variance (1 - correlation)` to the determinant.
            n = tf.reduce_sum(weights, axis=-1)[..., tf.newaxis]
            log_det -= (steps - n) * (log_variance + tf.math.log1p(-self._parameter('correlation')))
        return _Fit(spectrum, scales, solved, n, tf.reduce_sum(rotated * solved, axis=-2), log_det)

    def _joint_log_prob(self, value, mask, conditional_input=None):
        poses, df = self._poses_of(value, conditional_input), self._parameter('df')
        fit = self._fit(*self._with_observations(value, poses, mask))
        log_prob = radial.log_density(fit.log_det, fit.beta, fit.n, df)
        if self.observations is not None:
            seen = self._fit(*self._observed())
            log_prob -= radial.log_density(seen.log_det, seen.beta, seen.n, df)
        return tf.reduce_sum(log_prob, axis=-1)

    def _know(self, poses):
        """Returns the `_Knowledge` at poses `[..., m, P]`."""
        df, loc = self._parameter('df'), self._loc_at(poses)
        if self.observations is None:
            shape = ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0)
            mean = tf.broadcast_to(loc, ps.broadcast_shape(ps.shape(loc), shape))
            return _Knowledge(df, tf.ones([1], self.dtype), mean, None, None)
        observations, observed_poses, weights = self._observed()
        fit = self._fit(observations, observed_poses, weights)
        cross = self._similarity(poses, observed_poses)
        if weights is not None:
            cross *= weights[..., tf.newaxis, tf.newaxis, :]
        cross = tf.matmul(cross, fit.spectrum.basis)
        gain = tf.sqrt(self._by_step('variance')) * self._by_step('correlation')
        mean = loc + gain * mix_steps(cross, fit.solved)
        inflation = radial.predictive_scale(fit.beta, fit.n, df)
        return _Knowledge(None if df is None else df + fit.n, inflation, mean, fit, cross)

    def _spread(self, poses, known):
        """Returns the variance `[..., m, D]` at poses."""
        correlation = self._by_step('correlation')
        own = tf.linalg.diag_part(self._similarity(poses, poses))
        relative = correlation * expand_groups(own, self._dimension()[0]) + (1.0 - correlation)
        if known.fit is not None:
            inverse = 1.0 / known.fit.scales
            relative -= tf.square(correlation) * mix_steps(tf.square(known.cross), inverse)
            # To first order in `off`, whose value is zero: all pairs of eigenvectors.
            pairs = known.cross[..., :, tf.newaxis] * known.cross[..., tf.newaxis, :]
            pairs *= known.fit.spectrum.off[..., tf.newaxis, :, :]
            pairs = tf.reshape(pairs, ps.concat([ps.shape(pairs)[:-2], [-1]], 0))
            inverses = inverse[..., :, tf.newaxis, :] * inverse[..., tf.newaxis, :, :]
            inverses = tf.reshape(inverses, ps.concat([ps.shape(inverses)[:-3], [-1], ps.shape(inverses)[-1:]], 0))
            relative += correlation**3 * mix_steps(pairs, inverses)
        return self._by_step('variance') * known.inflation[..., tf.newaxis, :] * relative

    def _marginals(self, poses):
        """Returns (df or None, mean, variance) of each step on its own."""
        known = self._know(poses)
        df = None if known.df is None else known.df[..., tf.newaxis, :]
        return df, known.mean, self._spread(poses, known)

    def _marginal_log_prob(self, value, conditional_input=None):
        df, mean, variance = self._marginals(self._poses_of(value, conditional_input))
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
        known = self._know(poses)
        shape = ps.concat([[n], ps.shape(known.mean)], 0)
        deviations = self._deviations(poses, known, shape, smooth_seed, own_seed)
        mixing_shape = ps.concat([shape[:-2], [1], shape[-1:]], 0)
        df = None if known.df is None else known.df[..., tf.newaxis, :]
        mixing = radial.mixing(mixing_shape, df, mixing_seed, self.dtype)
        return known.mean + mixing * tf.sqrt(known.inflation)[..., tf.newaxis, :] * deviations

    def _deviations(self, poses, known, shape, smooth_seed, own_seed):
        """Draws Gaussian deviations from the mean, `[n] + mean.shape`."""
        num_seen = 0
        if known.fit is not None:
            # Seen and wanted steps are drawn together; then what the seen ones tell is taken away.
            observed_poses, num_seen = self._parameter('observed_poses'), ps.shape(known.cross)[-1]
            batch = ps.shape(poses)[:-2]
            observed_poses = tf.broadcast_to(observed_poses, ps.concat([batch, ps.shape(observed_poses)[-2:]], 0))
            poses = tf.concat([observed_poses, poses], axis=-2)
        correlation = self._by_step('correlation')
        shape = ps.concat([shape[:-2], ps.shape(poses)[-2:-1], shape[-1:]], 0)
        smooth, own = (samplers.normal(shape, seed=seed, dtype=self.dtype) for seed in (smooth_seed, own_seed))
        root = decompose(self._own_similarity(poses)).square_root()
        drawn = tf.sqrt(correlation) * mix_steps(root, smooth) + tf.sqrt(1.0 - correlation) * own
        wanted = drawn[..., num_seen:, :]
        if known.fit is not None:
            seen, weights = drawn[..., :num_seen, :], self._parameter('observed_mask')
            if weights is not None:
                seen *= weights[..., tf.newaxis]
            spectrum = known.fit.spectrum
            rotated = mix_steps(tf.linalg.matrix_transpose(spectrum.basis), seen)
            wanted -= correlation * mix_steps(known.cross, self._solve(spectrum, known.fit.scales, rotated))
        return tf.sqrt(self._by_step('variance')) * wanted

    def _mean(self, conditional_input=None):
        return self._know(self._broadcast_poses(conditional_input)).mean

    def _variance(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        variance = self._spread(poses, self._know(poses))
        return tf.broadcast_to(variance, ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0))

    def _covariance(self, conditional_input=None):
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        poses = self._broadcast_poses(conditional_input)
        known, dimension = self._know(poses), self._dimension()[0]
        identity = tf.eye(ps.shape(poses)[-2], dtype=self.dtype)[..., tf.newaxis]
        if self._independent_targets:
            return block_covariance(identity * self._spread(poses, known)[..., tf.newaxis, :, :])
        correlation = self._by_step('correlation')[..., tf.newaxis, :]
        within = correlation * _by_dimension(self._similarity(poses, poses), dimension) + (1.0 - correlation) * identity
        if known.fit is not None:
            cross = _by_dimension(known.cross, dimension)
            inverse = 1.0 / known.fit.scales[..., tf.newaxis, :, :]
            # To first order in `off`, whose value is zero.
            off = correlation * _by_dimension(known.fit.spectrum.off, dimension)
            solved = cross * inverse
            solved -= _product(solved, off) * inverse
            within -= tf.square(correlation) * _product(solved, tf.einsum('...ikd->...kid', cross))
        scale = (self._parameter('variance') * known.inflation)[..., tf.newaxis, tf.newaxis, :]
        return block_covariance(scale * within)

    def _entropy(self, conditional_input=None):
        poses = self._broadcast_poses(conditional_input)
        known = self._know(poses)
        if self._independent_targets:
            df = None if known.df is None else known.df[..., tf.newaxis, :]
            log_variance = tf.math.log(self._spread(poses, known))
            return tf.reduce_sum(radial.entropy(log_variance, tf.ones([], self.dtype), df), [-2, -1])
        # The determinant does not depend on the values.
        value = tf.zeros(ps.concat([ps.shape(poses)[:-1], self._dimension_tensor()], 0), self.dtype)
        log_det = self._fit(*self._with_observations(value, poses, None)).log_det
        steps = tf.cast(ps.shape(poses)[-2], self.dtype)
        if known.fit is not None:
            log_det += steps * tf.math.log(known.inflation) - known.fit.log_det
        return tf.reduce_sum(radial.entropy(log_det, steps, known.df), axis=-1)


def _by_dimension(matrix, dimension):
    """Returns the matrices `[..., G, m, n]` of G groups for each dimension, `[..., m, n, D]` (or `[..., m, n, 1]`)."""
    rank = matrix.shape.rank
    matrix = tf.transpose(matrix, [*range(rank - 3), rank - 2, rank - 1, rank - 3])
    groups = matrix.shape[-1]
    return matrix if groups == 1 else tf.repeat(matrix, dimension // groups, axis=-1)


def _product(matrices_a, matrices_b):
    """Returns the products of matrices `[..., m, k, D]` and `[..., k, n, D]` of D dimensions, 1 in either for all."""
    return tf.reduce_sum(matrices_a[..., tf.newaxis, :] * matrices_b[..., tf.newaxis, :, :, :], axis=-3)
