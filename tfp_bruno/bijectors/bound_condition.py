"""A conditional bijector with its condition fixed."""

import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_bruno.bijectors.conditional_bijector import _NoCache

__all__ = ['BoundCondition']


class BoundCondition(tfb.Bijector):
    """Fixes the condition of a bijector: `y = g(x; c)` with c given once.

    It takes no keyword arguments, so the result works where none can be passed, as in `tfd.JointDistribution`.
    """

    _cache = _NoCache()

    def __init__(self, bijector, conditional_input, validate_args=False, name='bound_condition'):
        """Constructs the bijector.

        Args:
            bijector: A bijector whose methods take `conditional_input`.
            conditional_input: `Tensor` of shape `[..., condition_size]`.
            validate_args: Python `bool`. Default value: `False`.
            name: Python `str`. Default value: `'bound_condition'`.
        """
        parameters = dict(locals())
        self._bijector = bijector
        self._conditional_input = tf.convert_to_tensor(conditional_input, dtype_hint=bijector.dtype)
        super().__init__(
            forward_min_event_ndims=bijector.forward_min_event_ndims,
            inverse_min_event_ndims=bijector.inverse_min_event_ndims,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def bijector(self):
        """The conditional bijector."""
        return self._bijector

    @property
    def conditional_input(self):
        """The condition that it is bound to."""
        return self._conditional_input

    def forward_and_log_det(self, x):
        """Returns `g(x; c)` and its log-determinant from one evaluation."""
        return self._bijector.forward_and_log_det(x, self._conditional_input)

    def inverse_and_log_det(self, y):
        """Returns the inverse at y and its log-determinant from one evaluation."""
        return self._bijector.inverse_and_log_det(y, self._conditional_input)

    def _forward(self, x):
        return self._bijector.forward(x, conditional_input=self._conditional_input)

    def _inverse(self, y):
        return self._bijector.inverse(y, conditional_input=self._conditional_input)

    def _forward_log_det_jacobian(self, x):
        return self._bijector.forward_log_det_jacobian(x, conditional_input=self._conditional_input)

    def _inverse_log_det_jacobian(self, y):
        return self._bijector.inverse_log_det_jacobian(y, conditional_input=self._conditional_input)

    def _forward_event_shape(self, input_shape):
        return self._bijector.forward_event_shape(input_shape)

    def _inverse_event_shape(self, output_shape):
        return self._bijector.inverse_event_shape(output_shape)

    def _forward_event_shape_tensor(self, input_shape):
        return self._bijector.forward_event_shape_tensor(input_shape)

    def _inverse_event_shape_tensor(self, output_shape):
        return self._bijector.inverse_event_shape_tensor(output_shape)
