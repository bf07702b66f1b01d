"""An affine map of every pixel that depends on the condition, initialised with the mean images of the data."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector


class ConditionalAffine(ConditionalBijector):
    """Shifts and scales every element by linear functions of the condition.

    #### Mathematical Details

    ```none
    y = loc(c) + exp(log_scale(c)) * x,   loc(c) = c L,   log_scale(c) = c S
    log |det dy/dx| = sum over elements of log_scale(c)
    ```

    with trainable tables L and S of shape `[condition_size] + event`. With one-hot conditions (slice numbers) each
    slice has a mean and a scale image of its own: ActNorm per pose and pixel. Both tables start at zero, the identity;
    `initialize(loc, scale, conditions)` fits them to data.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        condition_size: int,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'conditional_affine',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event.
            condition_size: Size of the condition vector.
            dtype: Dtype of the events.
            validate_args: Whether conditions must be finite.
            name: Name of the operations.

        Raises:
            ValueError: If an argument has the wrong type or shape; one line names it.
        """
        parameters = dict(locals())
        event_shape, dtype = check_event_shape(event_shape), check_dtype(dtype)
        condition_size = check_size(condition_size)
        table_shape = [condition_size, *event_shape]
        self._loc = tf.Variable(tf.zeros(table_shape, dtype), name=f'{name}/loc')
        self._log_scale = tf.Variable(tf.zeros(table_shape, dtype), name=f'{name}/log_scale')
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

    def initialize(self, loc: ArrayLike, scale: ArrayLike, conditions: ArrayLike, ridge: float = 1e-6) -> None:
        """Fits the tables so that `loc(c)` and `exp(log_scale(c))` reproduce given images (least squares).

        Args:
            loc: Mean event under each of K conditions, of shape `[K] + event`.
            scale: Standard deviations, of shape `[K] + event`, positive.
            conditions: Shape `[K, condition_size]`.
            ridge: Ridge penalty, which keeps the fit defined if K is smaller than `condition_size`.
        """
        conditions = np.asarray(conditions, np.float64)
        gram = conditions.T @ conditions + ridge * np.eye(conditions.shape[1])
        for table, values in ((self._loc, np.asarray(loc)), (self._log_scale, np.log(np.asarray(scale)))):
            flat = values.reshape(len(conditions), -1)
            fitted = np.linalg.solve(gram, conditions.T @ flat)
            table.assign(fitted.reshape(table.shape).astype(table.dtype.as_numpy_dtype))

    def _loc_and_log_scale(self, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        size = self._loc.shape[1:].num_elements()
        event = self._loc.shape[1:].as_list()
        loc = tf.matmul(condition, tf.reshape(self._loc, [-1, size]))
        log_scale = tf.matmul(condition, tf.reshape(self._log_scale, [-1, size]))
        return tf.reshape(loc, [-1, *event]), tf.reshape(log_scale, [-1, *event]), tf.reduce_sum(log_scale, -1)

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        loc, log_scale, log_det = self._loc_and_log_scale(condition)
        return loc + tf.exp(log_scale) * x, log_det

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        loc, log_scale, log_det = self._loc_and_log_scale(condition)
        return (y - loc) * tf.exp(-log_scale), -log_det
