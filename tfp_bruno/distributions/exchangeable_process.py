"""What the exchangeable processes share: densities in two sums, conditioning in closed form."""

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.internal import samplers

from tfp_bruno.distributions import radial
from tfp_bruno.distributions.process import Process, mask_as_weights
from tfp_bruno.distributions.step_sums import sum_steps

__all__ = ['ExchangeableProcess']


class ExchangeableProcess(Process):
    """Independent dimensions, in each of which any two observations have the same correlation.

    For n observations of one dimension, the covariance is `K = a I + b 1 1^T` with `a = variance (1 - correlation)`
    and `b = variance correlation`, so

    ```none
    log|K| = (n - 1) log(a) + log(a + n b)
    beta   = sum_i (z_i - zbar)^2 / a + n (zbar - loc)^2 / (a + n b)
    ```

    where `zbar` is the mean of the observations: two sums over the steps, `O(n D)`, without a factorisation. Sums
    about `zbar`, since the difference of two sums about `loc` would cancel in float32.
    """

    @property
    def loc(self):
        """Mean of every observation."""
        return self._loc_parameter

    @property
    def correlation(self):
        """Correlation between any two observations."""
        return self._correlation_parameter

    def _components(self):
        """Returns (df or None, loc, a, b): the parameters, the independent and the shared part of the variance."""
        variance, correlation = self._parameter('variance'), self._parameter('correlation')
        return (
            self._parameter('df'),
            self._parameter('loc'),
            variance * (1.0 - correlation),
            variance * correlation,
        )

    def _statistics(self, observations, loc, a, b, mask):
        """Returns (n, sum of deviations from loc, beta) of observations `[..., n, D]`."""
        sums = sum_steps(observations, loc, mask)
        beta = sums.spread / a + sums.total * sums.centre / (a + sums.n * b)
        return sums.n, sums.total, beta

    def _joint_log_prob(self, value, mask):
        df, loc, a, b = self._components()
        n, _, beta = self._statistics(value, loc, a, b, mask)
        log_det = (n - 1.0) * tf.math.log(a) + tf.math.log(a + n * b)
        return tf.reduce_sum(radial.log_density(log_det, beta, n, df), axis=-1)

    def _marginal_log_prob(self, value):
        df, loc, a, b = self._components()
        variance = a + b
        df = None if df is None else df[..., tf.newaxis, :]
        beta = tf.math.squared_difference(value, loc[..., tf.newaxis, :]) / variance[..., tf.newaxis, :]
        log_det = tf.math.log(variance)[..., tf.newaxis, :]
        return tf.reduce_sum(radial.log_density(log_det, beta, tf.ones([], self.dtype), df), axis=-1)

    def _sample_n(self, n, seed=None):
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

    def posterior(self, observations, num_steps, mask=None, name=None):
        """Returns the process of further observations, given some.

        Args:
            observations: `Tensor` of shape `[C1, ..., Cc, n, D]`, n >= 0; `[C1, ..., Cc]` broadcasts against the
                batch shape.
            num_steps: Integer, the number of steps of the result.
            mask: Boolean `Tensor` of shape `[..., n]`: which observations count, for batches of sequences of
                different lengths. Default value: `None`, all of them.
            name: Python `str`. Default value: `None`, this process' name.

        Returns:
            A process of the same class, of batch shape broadcast(`[C1, ..., Cc]`, batch shape). With n = 0 it is the
            prior.

        Raises:
            ValueError: if the observations have another size than D.
        """
        with self._name_and_control_scope(name or 'posterior'):
            observations = self._checked_observations(observations, mask)
            mask = mask_as_weights(mask, observations, self.name)
            df, loc, a, b = self._components()
            n, total, beta = self._statistics(observations, loc, a, b, mask)
            shrinkage = b / (a + n * b)
            inflation = radial.predictive_scale(beta, n, df)
            own, shared = inflation * a, inflation * a * shrinkage
            changed = {
                'loc': loc + shrinkage * total,
                'variance': own + shared,
                'correlation': shared / (own + shared),
                'num_steps': num_steps,
                'name': name or self._name.rstrip('/'),
            }
            if df is not None:
                changed['df'] = df + n
            return self.copy(**changed)

    def update(self, observation, name=None):
        """Returns the process after one more observation, of the same number of steps: `posterior` for streams.

        Args:
            observation: `Tensor` of shape `[..., D]`.
            name: Python `str`. Default value: `None`, this process' name.
        """
        observation = tf.convert_to_tensor(observation, dtype_hint=self.dtype)
        return self.posterior(observation[..., tf.newaxis, :], self._num_steps, name=name)

    def _broadcast_to_event(self, value):
        shape = ps.concat([self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        return tf.broadcast_to(value[..., tf.newaxis, :], shape)

    def _mean(self):
        return self._broadcast_to_event(self._parameter('loc'))

    def _variance(self):
        return self._broadcast_to_event(self._parameter('variance'))

    def _covariance(self):
        """The covariance of the event flattened to one vector, `[n D, n D]`."""
        _, _, a, b = self._components()
        if self._independent_targets:
            a, b = a + b, tf.zeros_like(b)
        steps, dimension = self.event_shape_tensor()[0], self.event_shape_tensor()[1]
        within = (
            b[..., tf.newaxis, tf.newaxis, :]
            + a[..., tf.newaxis, tf.newaxis, :] * tf.eye(steps, dtype=self.dtype)[..., tf.newaxis]
        )
        blocks = tf.einsum('...ijd,de->...idje', within, tf.eye(dimension, dtype=self.dtype))
        shape = ps.concat([self.batch_shape_tensor(), [steps * dimension, steps * dimension]], axis=0)
        return tf.broadcast_to(tf.reshape(blocks, ps.concat([ps.shape(blocks)[:-4], shape[-2:]], axis=0)), shape)

    def _entropy(self):
        df, _, a, b = self._components()
        n = tf.cast(self._num_steps, self.dtype)
        if self._independent_targets:
            each = n * radial.entropy(tf.math.log(a + b), tf.ones([], self.dtype), df)
        else:
            each = radial.entropy((n - 1.0) * tf.math.log(a) + tf.math.log(a + n * b), n, df)
        shape = ps.concat([self.batch_shape_tensor(), self.event_shape_tensor()[1:]], axis=0)
        return tf.reduce_sum(tf.broadcast_to(each, shape), axis=-1)
