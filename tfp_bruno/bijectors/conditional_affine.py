"""An affine map of every pixel, given the condition: where a flow starts from the mean of the data."""

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['ConditionalAffine']


class ConditionalAffine(ConditionalBijector):
    """Shifts and scales every element by linear functions of the condition.

    #### Mathematical Details

    ```none
    y = loc(c) + exp(log_scale(c)) * x,   loc(c) = c L,   log_scale(c) = c S
    log |det dy/dx| = sum over elements of log_scale(c)
    ```

    where L and S are trainable tables of shape `[condition_size] + event`. With one-hot conditions (slice numbers)
    each slice has a mean and a scale image of its own; it is ActNorm per pose and per pixel. Both tables start at
    zero, the identity; `initialize(loc, scale, conditions)` fits them to data.
    """

    def __init__(self, event_shape, condition_size, dtype=tf.float32, validate_args=False, name='conditional_affine'):
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event.
            condition_size: `int`, size of the condition vector.
            dtype: Dtype of the events. Default value: `tf.float32`.
            validate_args: Python `bool`: whether conditions must be finite. Default value: `False`.
            name: Python `str`. Default value: `'conditional_affine'`.

        Raises:
            ValueError: if an argument has the wrong type; one line names it.
        """
        parameters = dict(locals())
        event_shape, dtype = check_event_shape(event_shape), check_dtype(dtype)
        condition_size = check_size(condition_size)
        shape = [condition_size, *event_shape]
        self._loc = tf.Variable(tf.zeros(shape, dtype), name=f'{name}/loc')
        self._log_scale = tf.Variable(tf.zeros(shape, dtype), name=f'{name}/log_scale')
        super().__init__(
            event_shape,
            event_shape,
            condition_size=condition_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
            is_elementwise=True,
        )

    def initialize(self, loc, scale, conditions, ridge=1e-6):
        """Fits the tables so that `loc(c)` and `exp(log_scale(c))` reproduce given images (least squares).

        Args:
            loc: Array of shape `[K] + event`: the mean event under each of K conditions.
            scale: Array of shape `[K] + event`, positive: the standard deviations.
            conditions: Array of shape `[K, condition_size]`.
            ridge: `float`, the weight that keeps the fit defined when there are fewer conditions than their size.
        """
        conditions = np.asarray(conditions, np.float64)
        gram = conditions.T @ conditions + ridge * np.eye(conditions.shape[1])
        for table, values in ((self._loc, np.asarray(loc)), (self._log_scale, np.log(np.asarray(scale)))):
            flat = values.reshape(len(conditions), -1)
            fitted = np.linalg.solve(gram, conditions.T @ flat)
            table.assign(fitted.reshape(table.shape).astype(table.dtype.as_numpy_dtype))

    def _loc_and_log_scale(self, condition):
        size = self._loc.shape[1:].num_elements()
        event = self._loc.shape[1:].as_list()
        loc = tf.matmul(condition, tf.reshape(self._loc, [-1, size]))
        log_scale = tf.matmul(condition, tf.reshape(self._log_scale, [-1, size]))
        return tf.reshape(loc, [-1, *event]), tf.reshape(log_scale, [-1, *event]), tf.reduce_sum(log_scale, -1)

    def _forward_and_log_det(self, x, condition):
        loc, log_scale, log_det = self._loc_and_log_scale(condition)
        return loc + tf.exp(log_scale) * x, log_det

    def _inverse_and_log_det(self, y, condition):
        loc, log_scale, log_det = self._loc_and_log_scale(condition)
        return (y - loc) * tf.exp(-log_scale), -log_det
