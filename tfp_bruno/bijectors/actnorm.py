"""ActNorm: a scale and a shift of every channel, initialised from data."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.networks.data_dependent_init import channel_moments, replace_unless


class ActNorm(ConditionalBijector):
    """Shifts and scales every channel; shift and scale are initialised with the moments of a batch.

    #### Mathematical Details

    ```none
    y = loc + exp(log_scale) x,   log |det dy/dx| = (number of pixels) * sum of log_scale
    ```

    with `loc` and `log_scale` of shape `[C]`. It starts as the identity. `initialize_from_data(y)` sets them to mean
    and standard deviation of each channel of y, so that x has mean 0 and variance 1. Called in every replica of a
    `tf.distribute.Strategy`, it takes the moments of the whole batch. A second call changes nothing, nor does a call
    after a checkpoint was restored, so that trained values are not overwritten; `overwrite=True` initialises again.

    #### References

    [1]: Durk P. Kingma, Prafulla Dhariwal. Glow: generative flow with invertible 1 x 1 convolutions, section 3.1.
    NeurIPS 2018.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'actnorm',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event, channels last.
            dtype: Dtype of the events.
            validate_args: Unused; part of TFP's interface.
            name: Name of the operations.

        Raises:
            ValueError: If an argument has the wrong type or shape; one line names it.
        """
        parameters = dict(locals())
        shape, dtype = check_event_shape(event_shape), check_dtype(dtype)
        channels = shape[-1]
        # All replicas assign the same value.
        same = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._loc = tf.Variable(tf.zeros([channels], dtype), name=f'{name}/loc', aggregation=same)
        self._log_scale = tf.Variable(tf.zeros([channels], dtype), name=f'{name}/log_scale', aggregation=same)
        self._is_initialized = tf.Variable(False, trainable=False, name=f'{name}/is_initialized', aggregation=same)
        self._num_pixels = int(np.prod(shape[:-1]))
        super().__init__(
            shape,
            shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
            is_elementwise=True,
        )

    def _log_det(self, value: tf.Tensor) -> tf.Tensor:
        return tf.fill([tf.shape(value)[0]], self._num_pixels * tf.reduce_sum(self._log_scale))

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return self._loc + tf.exp(self._log_scale) * x, self._log_det(x)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return (y - self._loc) * tf.exp(-self._log_scale), -self._log_det(y)

    def _fit_and_invert(self, y: tf.Tensor, condition: tf.Tensor | None, overwrite: bool) -> tf.Tensor:
        mean, scale = channel_moments(y)
        keep = tf.logical_and(self._is_initialized, not overwrite)
        loc = replace_unless(keep, self._loc, mean)
        log_scale = replace_unless(keep, self._log_scale, tf.math.log(scale))
        for variable, value in ((self._loc, loc), (self._log_scale, log_scale), (self._is_initialized, True)):
            variable.assign(value)
        return (y - loc) * tf.exp(-log_scale)
