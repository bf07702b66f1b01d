"""Exchangeable processes: any two vectors of a sequence are equally correlated, whatever their poses."""

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties, samplers
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions import _radial as radial
from tfp_bruno.distributions._parameters import data, parameter, vector
from tfp_bruno.distributions._shapes import broadcast_batch
from tfp_bruno.distributions._step_sums import sum_steps
from tfp_bruno.distributions.base import Process
from tfp_bruno.distributions.fitting import assign_moments, dimension_variance

__all__ = ['ExchangeableGaussianProcess', 'ExchangeableProcess', 'ExchangeableStudentTProcess']


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
        loc,
        marginal_variance,
        correlation,
        num_steps=None,
        poses=None,
        independent_targets=False,
        validate_args=False,
        allow_nan_stats=True,
        name=None,
    ):
        """Constructs the process.

        Args:
            loc: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it): mean of every
                observation.
            marginal_variance: Positive `Tensor` of shape `[B1, ..., Bb, D]`: variance of every observation.
            correlation: `Tensor` of shape `[B1, ..., Bb, D]` in `[0, 1)`: correlation between any two observations.
            num_steps: Integer `Tensor`, the number of observations of an event. Default value: `None`, that of
                `poses`.
            poses: `Tensor` of shape `[..., num_steps, P]`, whose batch shape is part of the process' and on whose
                values nothing depends, see `at`. Default value: `None`.
            independent_targets: Python `bool`: whether the steps of an event are drawn and scored each on its own,
                as in the official code of Conditional BRUNO; conditioning is not changed. Default value: `False`.
            validate_args: Python `bool`: whether parameters and observations are checked at run time. Default value:
                `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `None`, the name of the class.

        Raises:
            ValueError: if shapes or dtypes of the parameters do not fit each other.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            **{name: parameter(name, dtype) for name in ('loc', 'marginal_variance', 'correlation')},
            'num_steps': parameter_properties.ShapeParameterProperties(),
            'poses': data(2),
        }

    def fit(self, samples, step=1):
        """Sets the variables among the parameters to moments of samples, except `loc` and `df`.

        Args:
            samples: float32 array `[S, n, D]` about `loc`: S subjects with n vectors each.
            step: Not used; for other processes, the distance between neighbouring poses.
        """
        del step
        variance = dimension_variance(samples)
        steps = samples.shape[1]
        # The mean product of two different vectors of a subject.
        products = np.mean(samples.sum(1) ** 2 - (samples**2).sum(1), axis=0) / (steps * (steps - 1))
        assign_moments(self, variance, products / variance)

    @property
    def loc(self):
        """Mean of every observation."""
        return self._loc

    @property
    def marginal_variance(self):
        """Variance of every observation."""
        return self._marginal_variance

    @property
    def correlation(self):
        """Correlation between any two observations."""
        return self._correlation

    def _components(self):
        """Returns (df or None, loc, a, b): the parameters, the independent and the shared part of the variance."""
        variance, correlation = vector(self._marginal_variance), vector(self._correlation)
        df = vector(getattr(self, '_df', None))
        return df, vector(self._loc), variance * (1.0 - correlation), variance * correlation

    def _poses_at(self, poses):
        return None if poses is None and self._poses is None else super()._poses_at(poses)

    def _observed_poses_of(self, observations, poses):
        return None if poses is None else self._poses_of(observations, poses)

    def _at_batch_of(self, poses, result, event_ndims):
        """Returns a result with the batch shape of the poses, if there are any."""
        return result if poses is None else broadcast_batch(result, event_ndims, ps.shape(poses)[:-2])

    def _log_prob_at(self, value, poses, weights):
        return self._at_batch_of(poses, super()._log_prob_at(value, poses, weights), 0)

    def _joint_log_prob(self, value, poses, weights):
        df, loc, a, b = self._components()
        sums = sum_steps(value, loc, weights)
        log_det = (sums.n - 1.0) * tf.math.log(a) + tf.math.log(a + sums.n * b)
        return tf.reduce_sum(radial.log_density(log_det, _beta(sums, a, b), sums.n, df), axis=-1)

    def _marginal_log_prob(self, value, poses):
        df, loc, a, b = self._components()
        variance = a + b
        df = None if df is None else df[..., tf.newaxis, :]
        beta = tf.math.squared_difference(value, loc[..., tf.newaxis, :]) / variance[..., tf.newaxis, :]
        log_det = tf.math.log(variance)[..., tf.newaxis, :]
        each = tf.reduce_sum(radial.log_density(log_det, beta, tf.ones([], self.dtype), df), axis=-1)
        return self._at_batch_of(poses, each, 1)

    def _sample_n(self, n, seed=None, conditional_input=None):
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

    def _condition(self, observations, observed_poses, weights):
        df, loc, a, b = self._components()
        observations = self._at_batch_of(observed_poses, observations, 2)
        sums = sum_steps(observations, loc, weights)
        shrinkage = b / (a + sums.n * b)
        inflation = radial.predictive_scale(_beta(sums, a, b), sums.n, df)
        own, shared = inflation * a, inflation * a * shrinkage
        changes = {
            'loc': loc + shrinkage * sums.total,
            'marginal_variance': own + shared,
            'correlation': shared / (own + shared),
        }
        return changes if df is None else {**changes, 'df': df + sums.n}

    def _batch_and_steps(self, conditional_input):
        """Returns batch shape and number of steps of the moments at some poses."""
        poses = self._poses_at(conditional_input)
        if poses is None:
            return self.batch_shape_tensor(), self._steps()
        return ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2]), ps.shape(poses)[-2]

    def _at_every_step(self, value, conditional_input):
        batch, steps = self._batch_and_steps(conditional_input)
        shape = ps.concat([batch, ps.reshape(steps, [1]), self._dimension_tensor()], axis=0)
        return tf.broadcast_to(value[..., tf.newaxis, :], shape)

    def _mean(self, conditional_input=None):
        return self._at_every_step(vector(self._loc), conditional_input)

    def _variance(self, conditional_input=None):
        return self._at_every_step(vector(self._marginal_variance), conditional_input)

    def _covariance(self, conditional_input=None):
        """The covariance of the event flattened to one vector, steps outermost: `[..., n D, n D]`."""
        _, _, a, b = self._components()
        if self._independent_targets:
            a, b = a + b, tf.zeros_like(b)
        (batch, steps), dimension = self._batch_and_steps(conditional_input), self._dimension_tensor()[0]
        within = (
            b[..., tf.newaxis, tf.newaxis, :]
            + a[..., tf.newaxis, tf.newaxis, :] * tf.eye(steps, dtype=self.dtype)[..., tf.newaxis]
        )
        blocks = tf.einsum('...ijd,de->...idje', within, tf.eye(dimension, dtype=self.dtype))
        shape = ps.concat([batch, [steps * dimension, steps * dimension]], axis=0)
        return tf.broadcast_to(tf.reshape(blocks, ps.concat([ps.shape(blocks)[:-4], shape[-2:]], axis=0)), shape)

    def _entropy(self, conditional_input=None):
        df, _, a, b = self._components()
        batch, steps = self._batch_and_steps(conditional_input)
        n = tf.cast(steps, self.dtype)
        if self._independent_targets:
            each = n * radial.entropy(tf.math.log(a + b), tf.ones([], self.dtype), df)
        else:
            each = radial.entropy((n - 1.0) * tf.math.log(a) + tf.math.log(a + n * b), n, df)
        return tf.reduce_sum(tf.broadcast_to(each, ps.concat([batch, self._dimension_tensor()], axis=0)), axis=-1)


def _beta(sums, a, b):
    """Returns `(z - loc)^T K^-1 (z - loc)` of each dimension from the sums over the steps."""
    return sums.spread / a + sums.total * sums.centre / (a + sums.n * b)


class ExchangeableGaussianProcess(ExchangeableProcess):
    """A sequence of vectors whose order does not matter, each dimension Gaussian with constant correlation.

    The limit of `ExchangeableStudentTProcess` for many degrees of freedom, and what the official conditional models
    use. One event has shape `[num_steps, D]`; the D dimensions are independent of each other.

    #### Mathematical Details

    For one dimension with mean `loc`, marginal variance `v` and correlation `rho`, n observations are multivariate
    Gaussian with covariance `K = a I + b 1 1^T`, where `a = v (1 - rho)` and `b = v rho`:

    ```none
    log p(z_1..z_n) = -1/2 (n log(2 pi) + (n - 1) log(a) + log(a + n b) + beta)
    beta   = sum_i (z_i - zbar)^2 / a + n (zbar - loc)^2 / (a + n b)
    ```

    where `zbar` is the mean of the observations. After n of them, any further ones follow a process of the same class
    with `loc' = loc + b / (a + n b) * n (zbar - loc)`, `a' = a`, `b' = a b / (a + n b)`.

    #### Examples

    ```python
    process = tfp_bruno.distributions.ExchangeableGaussianProcess(
        loc=tf.zeros(3), marginal_variance=tf.ones(3), correlation=0.5 * tf.ones(3), num_steps=4)
    z = process.sample(seed=(1, 2))                            # [4, 3]
    process.posterior(z, num_steps=2).mean()                   # [2, 3]
    ```

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """


class ExchangeableStudentTProcess(ExchangeableProcess):
    """A sequence of vectors whose order does not matter, each dimension a Student-t process with constant correlation.

    One event has shape `[num_steps, D]`: observations `z_1 ... z_n`. The D dimensions are independent of each other;
    within a dimension, any two observations have the same correlation. Such a sequence is exchangeable: its density
    does not change when its observations are permuted, and every sub-sequence has the density of the same process
    with fewer steps.

    #### Mathematical Details

    For one dimension with mean `loc`, marginal variance `v`, correlation `rho` and `df = nu`, n observations are
    multivariate Student-t with covariance `K = a I + b 1 1^T`, where `a = v (1 - rho)` and `b = v rho`:

    ```none
    log p(z_1..z_n) = lgamma((nu + n) / 2) - lgamma(nu / 2) - n/2 log(pi (nu - 2))
                      - 1/2 log|K| - (nu + n)/2 log(1 + beta / (nu - 2))
    ```

    with log|K| and beta as for `ExchangeableProcess`. K is the covariance; the scale matrix is `(nu - 2) / nu K`.
    After n observations of mean `zbar`, any further ones follow a process of the same class with

    ```none
    nu'  = nu + n
    loc' = loc + b / (a + n b) * n (zbar - loc)
    k    = (nu + beta - 2) / (nu + n - 2)
    a'   = k a,   b' = k a b / (a + n b),   v' = a' + b',   rho' = b' / v'
    ```

    #### Examples

    ```python
    process = tfp_bruno.distributions.ExchangeableStudentTProcess(
        df=5., loc=tf.zeros(3), marginal_variance=tf.ones(3), correlation=0.5 * tf.ones(3), num_steps=4)
    z = process.sample(seed=(1, 2))                            # [4, 3]
    process.log_prob(z)                                        # []
    further = process.posterior(z, num_steps=2)                # again such a process
    further.sample(10, seed=(1, 2))                            # [10, 2, 3], drawn jointly
    ```

    #### References

    [1]: Iryna Korshunova et al. BRUNO: a deep recurrent model for exchangeable data. NeurIPS 2018.
    [2]: Amar Shah, Andrew Gordon Wilson, Zoubin Ghahramani. Student-t processes as alternatives to Gaussian
    processes. AISTATS 2014. [3]: Benjamin Hou et al. Flexible conditional image generation of missing data with
    learned mental maps. 2019.
    """

    def __init__(
        self,
        df,
        loc,
        marginal_variance,
        correlation,
        num_steps=None,
        poses=None,
        independent_targets=False,
        validate_args=False,
        allow_nan_stats=True,
        name=None,
    ):
        """Constructs the process from the arguments of `ExchangeableGaussianProcess` and the degrees of freedom.

        `df` is a floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it), above 2.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {'df': parameter('df', dtype), **super()._parameter_properties(dtype)}

    @property
    def df(self):
        """Degrees of freedom."""
        return self._df
