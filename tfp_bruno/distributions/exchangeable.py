"""Exchangeable processes: any two vectors of a sequence are equally correlated, whatever their poses."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties, samplers
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._parameters import data, parameter, vector
from tfp_bruno.distributions._shapes import TensorLike, block_covariance, broadcast_batch
from tfp_bruno.distributions._sufficient_statistics import SufficientStatistics, sufficient_statistics
from tfp_bruno.distributions.base import Process
from tfp_bruno.distributions.fitting import assign_moments, dimension_variance


class ExchangeableProcess(Process):
    """Independent dimensions, in each of which any two observations have the same correlation.

    For one dimension with mean `loc`, marginal variance `v` and correlation `rho`, n observations have

    ```none
    covariance K = a I + b 1 1^T,   a = v (1 - rho),   b = v rho
    log|K| = (n - 1) log(a) + log(a + n b)
    beta   = (z - loc)^T K^-1 (z - loc) = sum_i (z_i - zbar)^2 / a + n (zbar - loc)^2 / (a + n b)
    ```

    where `zbar` is their mean. The density costs two sums over the steps, `O(n D)`, without a factorisation. They are
    sums about `zbar`, since the difference of two sums about `loc` would cancel in float32.
    """

    _dimension_names = ('loc', 'marginal_variance', 'correlation', 'df')

    def __init__(
        self,
        loc: TensorLike,
        marginal_variance: TensorLike,
        correlation: TensorLike,
        num_steps: TensorLike | None = None,
        poses: TensorLike | None = None,
        independent_targets: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str | None = None,
    ) -> None:
        """Constructs the process.

        Args:
            loc: Mean of every observation, `[B1, ..., Bb, D]` (or broadcastable to it).
            marginal_variance: Variance of every observation, positive, `[B1, ..., Bb, D]`.
            correlation: Correlation between any two observations, in [0, 1), `[B1, ..., Bb, D]`.
            num_steps: Number of observations of an event; `None`: one for each of `poses`.
            poses: `[..., num_steps, P]`: their batch shape is part of the process', and their values are not used, see
                `at`.
            independent_targets: Whether the steps of an event are drawn and scored independently of each other, as in
                the official code of Conditional BRUNO; conditioning is not changed.
            validate_args: Whether parameters and observations are checked at run time.
            allow_nan_stats: As for every distribution of TFP.
            name: `None`: the name of the class.

        Raises:
            ValueError: If shapes or dtypes of the parameters do not fit each other.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        return {
            **{name: parameter(name, dtype) for name in ('loc', 'marginal_variance', 'correlation')},
            'num_steps': parameter_properties.ShapeParameterProperties(),
            'poses': data(2),
        }

    def fit(self, samples: np.ndarray, step: int = 1) -> None:
        """Sets the variables among the parameters to moments of samples, except `loc` and `df`.

        Args:
            samples: `[S, n, D]`, float32, less `loc`: S subjects with n vectors each.
            step: Not used; for other processes, the distance between neighbouring poses.
        """
        del step
        variance = dimension_variance(samples)
        steps = samples.shape[1]
        # The mean product of two different vectors of a subject.
        products = np.mean(samples.sum(1) ** 2 - (samples**2).sum(1), axis=0) / (steps * (steps - 1))
        assign_moments(self, variance, products / variance)

    @property
    def loc(self) -> tf.Tensor:
        """Mean of every observation."""
        return self._loc

    @property
    def marginal_variance(self) -> tf.Tensor:
        """Variance of every observation."""
        return self._marginal_variance

    @property
    def correlation(self) -> tf.Tensor:
        """Correlation between any two observations."""
        return self._correlation

    def _components(self) -> tuple[tf.Tensor | None, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns df (or `None`), loc, and a and b, the independent and the shared part of the variance."""
        variance, correlation = vector(self._marginal_variance), vector(self._correlation)
        return self._degrees(), vector(self._loc), variance * (1.0 - correlation), variance * correlation

    def _poses_at(self, poses: TensorLike | None) -> tf.Tensor | None:
        return None if poses is None and self._poses is None else super()._poses_at(poses)

    def _observed_poses_of(self, observations: tf.Tensor, poses: TensorLike | None) -> tf.Tensor | None:
        return None if poses is None else self._poses_of(observations, poses)

    def _at_batch_of(self, poses: tf.Tensor | None, result: tf.Tensor, event_ndims: int) -> tf.Tensor:
        """Returns a result with the batch shape of the poses, if there are any."""
        return result if poses is None else broadcast_batch(result, event_ndims, ps.shape(poses)[:-2])

    def _log_prob_at(self, value: tf.Tensor, poses: tf.Tensor | None, weights: tf.Tensor | None) -> tf.Tensor:
        return self._at_batch_of(poses, super()._log_prob_at(value, poses, weights), 0)

    def _joint_log_prob(self, value: tf.Tensor, poses: tf.Tensor | None, weights: tf.Tensor | None) -> tf.Tensor:
        df, loc, a, b = self._components()
        sums = sufficient_statistics(value, loc, weights)
        log_det = (sums.n - 1.0) * tf.math.log(a) + tf.math.log(a + sums.n * b)
        return tf.reduce_sum(radial.log_density(log_det, _beta(sums, a, b), sums.n, df), axis=-1)

    def _marginal_log_prob(self, value: tf.Tensor, poses: tf.Tensor | None) -> tf.Tensor:
        df, loc, a, b = self._components()
        variance = a + b
        df = None if df is None else df[..., tf.newaxis, :]
        beta = tf.math.squared_difference(value, loc[..., tf.newaxis, :]) / variance[..., tf.newaxis, :]
        log_det = tf.math.log(variance)[..., tf.newaxis, :]
        each = tf.reduce_sum(radial.log_density(log_det, beta, tf.ones([], self.dtype), df), axis=-1)
        return self._at_batch_of(poses, each, 1)

    def _sample_n(
        self, n: TensorLike, seed: TensorLike = None, conditional_input: TensorLike | None = None
    ) -> tf.Tensor:
        self._sampled_poses(conditional_input)
        df, loc, a, b = self._components()
        shape = ps.concat([[n], self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        mixing_seed, shared_seed, own_seed = samplers.split_seed(seed, n=3, salt='exchangeable_process')
        own = samplers.normal(shape, seed=own_seed, dtype=self.dtype)
        loc, a, b = (part[..., tf.newaxis, :] for part in (loc, a, b))
        df = None if df is None else df[..., tf.newaxis, :]
        if self._independent_targets:
            return loc + radial.mixing(shape, df, mixing_seed, self.dtype) * tf.sqrt(a + b) * own
        shared_shape = ps.concat([shape[:-2], [1], shape[-1:]], axis=0)
        shared = samplers.normal(shared_shape, seed=shared_seed, dtype=self.dtype)
        deviations = tf.sqrt(b) * shared + tf.sqrt(a) * own
        return loc + radial.mixing(shared_shape, df, mixing_seed, self.dtype) * deviations

    def _condition(
        self, observations: tf.Tensor, observed_poses: tf.Tensor | None, weights: tf.Tensor | None
    ) -> dict[str, Any]:
        df, loc, a, b = self._components()
        observations = self._at_batch_of(observed_poses, observations, 2)
        sums = sufficient_statistics(observations, loc, weights)
        shrinkage = b / (a + sums.n * b)
        inflation = radial.predictive_scale(_beta(sums, a, b), sums.n, df)
        own, shared = inflation * a, inflation * a * shrinkage
        changes = {
            'loc': loc + shrinkage * sums.total,
            'marginal_variance': own + shared,
            'correlation': shared / (own + shared),
        }
        return changes if df is None else {**changes, 'df': df + sums.n}

    def _batch_and_steps(self, conditional_input: TensorLike | None) -> tuple[TensorLike, TensorLike]:
        """Returns batch shape and number of steps of the moments at some poses."""
        poses = self._poses_at(conditional_input)
        if poses is None:
            return self.batch_shape_tensor(), self._steps()
        return ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2]), ps.shape(poses)[-2]

    def _at_every_step(self, value: tf.Tensor, conditional_input: TensorLike | None) -> tf.Tensor:
        """Returns a parameter `[..., D]` repeated for every step, `[..., n, D]`."""
        batch, steps = self._batch_and_steps(conditional_input)
        shape = ps.concat([batch, ps.reshape(steps, [1]), self._dimension_tensor()], axis=0)
        return tf.broadcast_to(value[..., tf.newaxis, :], shape)

    def _mean(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self._at_every_step(vector(self._loc), conditional_input)

    def _variance(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self._at_every_step(vector(self._marginal_variance), conditional_input)

    def _covariance(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        _, _, a, b = self._components()
        if self._independent_targets:
            a, b = a + b, tf.zeros_like(b)
        batch, steps = self._batch_and_steps(conditional_input)
        within = (
            b[..., tf.newaxis, tf.newaxis, :]
            + a[..., tf.newaxis, tf.newaxis, :] * tf.eye(steps, dtype=self.dtype)[..., tf.newaxis]
        )
        # Each of the parameters may have D dimensions, or one for all.
        within = tf.broadcast_to(within, ps.concat([batch, [steps, steps], self._dimension_tensor()], axis=0))
        return block_covariance(within)

    def _entropy(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        df, _, a, b = self._components()
        batch, steps = self._batch_and_steps(conditional_input)
        n = tf.cast(steps, self.dtype)
        if self._independent_targets:
            each = n * radial.entropy(tf.math.log(a + b), tf.ones([], self.dtype), df)
        else:
            each = radial.entropy((n - 1.0) * tf.math.log(a) + tf.math.log(a + n * b), n, df)
        return tf.reduce_sum(tf.broadcast_to(each, ps.concat([batch, self._dimension_tensor()], axis=0)), axis=-1)


def _beta(sums: SufficientStatistics, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns `(z - loc)^T K^-1 (z - loc)` of each dimension from its sufficient statistics."""
    return sums.spread / a + sums.total * sums.centre / (a + sums.n * b)
