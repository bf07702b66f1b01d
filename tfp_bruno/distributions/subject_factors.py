"""The algebra of a few factors of the subject that show in every slice and many dimensions."""

import typing

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions import radial
from tfp_bruno.distributions.factor_knowledge import FactorKnowledge, LoadingsLeft
from tfp_bruno.distributions.factor_sums import sum_whitened
from tfp_bruno.distributions.fitting import fit_factor_moments
from tfp_bruno.distributions.pose_conditioned_process import PoseConditionedProcess
from tfp_bruno.distributions.pose_table import PoseTable
from tfp_bruno.distributions.slice_kernel import slice_kernel
from tfp_bruno.distributions.steps import mix_steps

__all__ = ['SubjectFactors', 'information']


class _Moments(typing.NamedTuple):
    """What the density needs of some numbers: how many, `beta` and log|K|, each `[...]`."""

    n: tf.Tensor
    beta: tf.Tensor
    log_det: tf.Tensor


class _Seen(typing.NamedTuple):
    """What the observations tell, whatever is asked of the process.

    Attributes:
        poses: `[..., n, P]`.
        weights: Mask `[..., n]`, or `None`.
        table_and_rows: Their loadings, see `SubjectFactors._table_and_rows`.
        whitener: `[..., G, n, n]`.
        errors: Whitened deviations, `[..., n, D]`.
        precision: What they add to the factors' precision, `[..., q, q]`.
        projected: The loadings' product with the errors, `[..., q]`: `(I + precision)` times the factors' mean.
    """

    poses: tf.Tensor
    weights: tf.Tensor | None
    table_and_rows: tuple[tf.Tensor, tf.Tensor]
    whitener: tf.Tensor
    errors: tf.Tensor
    precision: tf.Tensor
    projected: tf.Tensor


class SubjectFactors(PoseConditionedProcess):
    """`z_i = loc + L(v_i) h + r_i`: factors h of the subject, and a residual that is smooth over poses.

    A Cholesky factor of the residual's correlation whitens one step after the other, so the first steps' quantities are
    those of the first steps alone; the factors are then integrated out by the matrix inversion lemma. `O(n D q (n +
    q))`. Of many sequences at the same poses `[n, P]`, all that does not depend on their values is computed once.
    """

    _keeps_common_poses = True

    def __init__(self, loadings, tensors, kernel, num_steps, parameters, **settings):
        """Keeps the parameters; see `PoseConditionedProcess`.

        Args:
            loadings: `Tensor` `[P, D, q]` or callable of poses.
            tensors: Dict of the other tensor parameters.
            kernel: Kernel over poses.
            num_steps: Integer `Tensor`, or `None`.
            parameters: Dict of the constructor's arguments.
            **settings: Of `Process`.
        """
        self._loadings_callable = loadings if callable(loadings) else None
        tensors = {**tensors, 'loadings': None if callable(loadings) else loadings}
        super().__init__(tensors, kernel, num_steps, parameters, **settings)
        table = self._all_shapes().get('loadings')
        if table is not None and (table.rank != 3 or not table[1:2].is_compatible_with(self._dimension())):
            raise ValueError(
                f'{self.name}: `loadings` {table} must have shape [P, D, q], where D = {self._dimension()[0]} is that '
                f'of `variance` {self._variance_parameter.shape}.'
            )

    @classmethod
    def from_samples(cls, samples, num_factors, num_steps=None, **kwargs):
        """Returns a process over one-hot poses, fitted in closed form to samples.

        The mean of each pose becomes `loc`, principal components of whole subjects the loadings, and what they leave of
        subjects that were left out the residual: its variance, its correlation with neighbours, and for a Student-t
        the degrees of freedom.

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
            'variance': moments.variance.astype(np.float32),
            'correlation': np.float32(moments.correlation),
            'kernel': slice_kernel(np.float32(moments.length), samples.shape[1]),
            'num_steps': samples.shape[1] if num_steps is None and 'poses' not in kwargs else num_steps,
        }
        if 'df' in cls._parameter_properties(tf.float32):
            fitted['df'] = np.float32(moments.df)
        return cls(**{**fitted, **kwargs})

    @property
    def loadings(self):
        """Loadings of the subject's factors: `[P, D, q]`, or a callable of poses."""
        return self._loadings_callable or self._loadings_parameter

    @property
    def correlation(self):
        """Correlation of the residual between steps at the same pose."""
        return self._correlation_parameter

    def _dimension_names(self):
        # Correlations belong to groups of dimensions, and the degrees of freedom to all.
        return [name for name in ('loc', 'variance') if name in self._tensor_names]

    def _group_names(self):
        return ('constant_share', 'correlation')

    def _unbatched_names(self):
        return ('loadings',)

    def _pose_size(self):
        return super()._pose_size() if self._loadings_callable else self._loadings_parameter.shape[0]

    def _deviation_scale(self):
        return tf.sqrt(self._parameter('variance'))[..., tf.newaxis, :]

    def _table_and_rows(self, poses):
        """Returns loadings `[P, D, q]` and which of them are those at poses `[..., n, P]`, integers `[..., n]`."""
        if not self._loadings_callable:
            with tf.control_dependencies(_one_hot_assertions(poses) if self.validate_args else []):
                return tf.convert_to_tensor(self._loadings_parameter), tf.argmax(poses, axis=-1, output_type=tf.int32)
        loadings = tf.convert_to_tensor(self._loadings_callable(poses))
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
        """Returns R between poses `[..., n, P]`, `[..., G, n, n]`."""
        correlation = self._parameter('correlation')[..., tf.newaxis, tf.newaxis]
        identity = tf.eye(ps.shape(poses)[-2], dtype=self.dtype)
        return correlation * self._own_similarity(poses, weights) + (1.0 - correlation) * identity

    def _whiten(self, value, poses, weights):
        """Returns what density and conditioning share.

        Args:
            value: `[..., n, D]`.
            poses: `[..., n, P]`.
            weights: Mask `[..., n]`, or `None`.

        Returns:
            factor: Cholesky factor of R, `[..., G, n, n]`.
            whitener: Its inverse.
            errors: Whitened deviations, `[..., n, D]`.
        """
        factor = tf.linalg.cholesky(tf.cast(self._residual_correlation(poses, weights), tf.float64))
        # A product with the small inverse is several times faster than a triangular solve with this many columns.
        whitener = tf.linalg.triangular_solve(factor, tf.broadcast_to(_eye_like(factor), ps.shape(factor)))
        factor, whitener = tf.cast(factor, self.dtype), tf.cast(whitener, self.dtype)
        errors = (value - self._loc_at(poses)) / self._deviation_scale()
        if weights is not None:
            # Not a product: what is masked may be NaN.
            errors = tf.where(weights[..., tf.newaxis] > 0.0, errors, tf.zeros([], self.dtype))
            # What is masked has no loadings.
            whitener *= weights[..., tf.newaxis, tf.newaxis, :]
        return factor, whitener, mix_steps(whitener, errors)

    def _see(self, poses):
        """Returns what is `_Seen`, with the batch of the poses that are asked about; `None` without observations."""
        if self.observations is None:
            return None
        observations, observed_poses, weights = self._observed()
        if poses.shape.rank > observed_poses.shape.rank:
            batch = ps.shape(poses)[:-2]
            observed_poses = tf.broadcast_to(observed_poses, ps.concat([batch, ps.shape(observed_poses)], 0))
        _, whitener, errors = self._whiten(observations, observed_poses, weights)
        table_and_rows = self._table_and_rows(observed_poses)
        sums = self._precisions(*table_and_rows, whitener, errors)
        return _Seen(observed_poses, weights, table_and_rows, whitener, errors, *sums)

    def _moments(self, value, poses, mask, seen):
        """Returns the `_Moments` of the observations, and those of vectors `[..., n, D]` and observations together."""
        num_seen = 0 if seen is None else ps.shape(seen.errors)[-2]
        value, poses, weights = self._with_observations(value, poses, mask)
        factor, whitener, errors = self._whiten(value, poses, weights)
        dimension = tf.cast(self._dimension_tensor()[0], self.dtype)
        each = tf.ones(ps.shape(value)[-2:-1], self.dtype) if weights is None else weights
        log_diagonal = tf.math.log(tf.linalg.diag_part(factor))
        # One of G groups is D / G dimensions.
        log_diagonal = 2.0 * dimension * tf.reduce_mean(log_diagonal, axis=-2)
        step_log_det = each * (
            log_diagonal + tf.reduce_sum(tf.math.log(self._parameter('variance')), -1)[..., tf.newaxis]
        )
        squares = tf.reduce_sum(tf.square(errors), axis=-1)
        # The whitener is triangular: of the first steps, it takes the first ones alone.
        new = slice(num_seen, None)
        sums = self._precisions(*self._table_and_rows(poses), whitener[..., new, :], errors[..., new, :])
        zero = tf.zeros([], self.dtype)
        moments = [_Moments(zero, zero, zero)]
        parts = [(slice(None), sums)]
        if seen is not None:
            before = seen.precision, seen.projected
            whole = [old + added for old, added in zip(before, sums, strict=True)]
            moments, parts = [], [(slice(None, num_seen), before), (slice(None), whole)]
        for steps, (precision, projected) in parts:
            log_det, explained = information(precision, projected)
            moments.append(
                _Moments(
                    dimension * tf.reduce_sum(each[..., steps], -1),
                    tf.reduce_sum(squares[..., steps], -1) - explained,
                    tf.reduce_sum(step_log_det[..., steps], -1) + log_det,
                )
            )
        return moments

    def _precisions(self, table, rows, whitener, errors):
        """Returns what m whitened steps tell of the factors, see `sum_whitened`."""
        scale = tf.math.rsqrt(self._parameter('variance'))
        scale = tf.broadcast_to(scale, ps.concat([ps.shape(scale)[:-1], self._dimension_tensor()], 0))
        return sum_whitened(table, rows, scale, whitener, errors)

    def _parameter_of_all(self, name):
        """Returns a parameter `[...]` that all dimensions share, or `None`."""
        return tf.convert_to_tensor(getattr(self, f'_{name}_parameter')) if name in self._tensor_names else None

    def _know(self, poses, seen, factor_scale=1.0, factor_evidence=1.0):
        """Returns the `FactorKnowledge` at poses `[..., m, P]`, given what is `_Seen` by `_see(poses)`.

        The rest widens its loadings, see `_sample_n`.
        """
        df, residual = self._parameter_of_all('df'), self._residual_correlation(poses)
        loadings, one = tf.gather(*self._table_and_rows(poses)), tf.ones([], self.dtype)
        if seen is None:
            mean = tf.zeros(ps.shape(loadings)[:-1], self.dtype)
            left = LoadingsLeft(loadings, self._deviation_scale())
            return FactorKnowledge(df, one, mean, residual, left, float(factor_scale))
        precision, weights, whitener, errors = seen.precision, seen.weights, seen.whitener, seen.errors
        precision_factor = tf.linalg.cholesky(precision + _eye_like(precision))
        factors_mean = _solve(tf.linalg.cholesky_solve, precision_factor, seen.projected)
        # The factors are mean + C^-T e, e standard, where C is the factor of their precision.
        spread = precision_factor
        if (factor_scale, factor_evidence) != (1.0, 1.0):
            spread = tf.linalg.cholesky(factor_evidence * precision + factor_scale**-2 * _eye_like(precision))
        inverse = tf.linalg.triangular_solve(spread, tf.broadcast_to(_eye_like(precision), ps.shape(spread)))
        cross = self._parameter('correlation')[..., tf.newaxis, tf.newaxis] * self._similarity(seen.poses, poses)
        if weights is not None:
            cross *= weights[..., tf.newaxis, :, tf.newaxis]
        of_whitened = tf.linalg.matrix_transpose(tf.matmul(whitener, cross))
        residual -= tf.matmul(of_whitened, of_whitened, transpose_b=True)
        weights_of_seen = tf.matmul(of_whitened, whitener)
        left = LoadingsLeft(loadings, self._deviation_scale(), weights_of_seen, tf.gather(*seen.table_and_rows))
        # What the factors' mean explains of the observations is not the residual's.
        mean = mix_steps(of_whitened, errors) + left.apply(factors_mean)
        of_factors = left, tf.linalg.matrix_transpose(inverse)
        if df is None:
            return FactorKnowledge(None, one, mean, residual, *of_factors)
        each = tf.ones(ps.shape(errors)[-2:-1], self.dtype) if weights is None else weights
        n = tf.cast(self._dimension_tensor()[0], self.dtype) * tf.reduce_sum(each, -1)
        beta = tf.reduce_sum(tf.square(errors), [-2, -1]) - tf.reduce_sum(seen.projected * factors_mean, -1)
        return FactorKnowledge(df + n, radial.predictive_scale(beta, n, df), mean, residual, *of_factors)


def _one_hot_assertions(poses):
    message = 'The poses (argument `conditional_input` or `poses`) must be one-hot where `loadings` is a table.'
    ones = tf.ones(ps.shape(poses)[:-1], poses.dtype)
    return [
        tf.debugging.assert_equal(tf.reduce_max(poses, -1), ones, message=message),
        tf.debugging.assert_equal(tf.reduce_sum(tf.abs(poses), -1), ones, message=message),
    ]


def _eye_like(matrix):
    return tf.eye(ps.shape(matrix)[-1], dtype=matrix.dtype)


def information(precision, projected):
    """Returns log|P| and u^T P^-1 u, where P is the identity more than `precision`.

    Args:
        precision: `[..., q, q]`, or `[q, q]` for a batch of u.
        projected: u, `[..., q]`.
    """
    factor = tf.linalg.cholesky(precision + _eye_like(precision))
    log_det = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)), -1)
    return log_det, tf.reduce_sum(tf.square(_solve(tf.linalg.triangular_solve, factor, projected)), -1)


def _solve(solve, factor, vectors):
    """Returns the solutions `[..., q]`, a batch of them at once for one factor `[q, q]`."""
    if factor.shape.rank > 2:
        return solve(factor, vectors[..., tf.newaxis])[..., 0]
    columns = tf.transpose(tf.reshape(vectors, [-1, ps.shape(factor)[-1]]))
    return tf.reshape(tf.transpose(solve(factor, columns)), ps.shape(vectors))
