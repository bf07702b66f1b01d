"""A scale and a shift of every channel that start from the data."""

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.networks.replica_moments import batch_scale, replica_moments

__all__ = ['ActNorm']


class ActNorm(ConditionalBijector):
    """Shifts and scales every channel by numbers of its own, which start from the moments of a batch.

    #### Mathematical Details

    ```none
    y = loc + exp(log_scale) x,   log |det dy/dx| = (number of pixels) * sum of log_scale
    ```

    with `loc` and `log_scale` of shape `[C]`. It starts as the identity. `initialize_from_data(y)` sets them to mean
    and standard deviation of each channel of y, so that x has mean 0 and variance 1; under a `tf.distribute.Strategy`,
    called in every replica, they are those of the whole batch. A second call changes nothing, also after a
    checkpoint was restored: what was trained is not overwritten. `overwrite=True` starts anew.

    #### References

    [1]: Durk P. Kingma, Prafulla Dhariwal. Glow: generative flow with invertible 1 x 1 convolutions, section 3.1.
    NeurIPS 2018.
    """

    def __init__(self, event_shape, dtype=tf.float32, validate_args=False, name='actnorm'):
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event, channels last.
            dtype: Dtype of the events. Default value: `tf.float32`.
            validate_args: Unused; for TFP's interface.
            name: Python `str`. Default value: `'actnorm'`.

        Raises:
            ValueError: if an argument has the wrong type; one line names it.
        """
        parameters = dict(locals())
        event_shape, dtype = check_event_shape(event_shape), check_dtype(dtype)
        channels = event_shape[-1]
        # All replicas assign the same value.
        same = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._loc = tf.Variable(tf.zeros([channels], dtype), name=f'{name}/loc', aggregation=same)
        self._log_scale = tf.Variable(tf.zeros([channels], dtype), name=f'{name}/log_scale', aggregation=same)
        self._is_initialized = tf.Variable(False, trainable=False, name=f'{name}/is_initialized', aggregation=same)
        self._num_pixels = int(np.prod(event_shape[:-1]))
        super().__init__(
            event_shape,
            event_shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
            is_elementwise=True,
        )

    def _log_det(self, value):
        return tf.fill([tf.shape(value)[0]], self._num_pixels * tf.reduce_sum(self._log_scale))

    def _forward_and_log_det(self, x, condition):
        return self._loc + tf.exp(self._log_scale) * x, self._log_det(x)

    def _inverse_and_log_det(self, y, condition):
        return (y - self._loc) * tf.exp(-self._log_scale), -self._log_det(y)

    def _fit_and_invert(self, y, condition, overwrite):
        mean, variance = replica_moments(y, list(range(y.shape.rank - 1)))
        log_scale = tf.math.log(batch_scale(variance))
        # A choice between values: a `tf.cond` could not assign in the replicas of a strategy.
        keep = tf.logical_and(self._is_initialized, not overwrite)
        loc = tf.where(keep, self._loc, tf.cast(mean, self.dtype))
        log_scale = tf.where(keep, self._log_scale, tf.cast(log_scale, self.dtype))
        for variable, value in ((self._loc, loc), (self._log_scale, log_scale), (self._is_initialized, True)):
            variable.assign(value)
        return (y - loc) * tf.exp(-log_scale)
