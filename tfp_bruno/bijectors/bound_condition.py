"""A conditional bijector with its condition fixed."""

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import parameter_properties

from tfp_bruno.bijectors.arguments import check_bijector, shown
from tfp_bruno.bijectors.conditional_bijector import _NoCache
from tfp_bruno.bijectors.sharing import check_slices

__all__ = ['BoundCondition']


class _BoundCondition(tfb.Bijector):
    """`BoundCondition` of a bijector that is no composite tensor."""

    _cache = _NoCache()

    def __init__(self, bijector, conditional_input, validate_args=False, name='bound_condition'):
        """Constructs the bijector.

        Args:
            bijector: A bijector whose methods take `conditional_input`.
            conditional_input: `Tensor` of shape `[..., condition_size]`.
            validate_args: Python `bool`. Default value: `False`.
            name: Python `str`. Default value: `'bound_condition'`.

        Raises:
            ValueError: if an argument has the wrong type or shape; one line names it.
        """
        parameters = dict(locals())
        self._bijector = check_bijector(bijector, 'bijector', tfb.Bijector)
        self._conditional_input = _as_condition(bijector, conditional_input)
        super().__init__(
            forward_min_event_ndims=bijector.forward_min_event_ndims,
            inverse_min_event_ndims=bijector.inverse_min_event_ndims,
            is_constant_jacobian=bijector.is_constant_jacobian,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {'conditional_input': parameter_properties.ParameterProperties(event_ndims=1)}

    @property
    def _is_permutation(self):
        return self._bijector._is_permutation

    def __getitem__(self, slices):
        check_slices(self.name, slices, self._conditional_input.shape.rank - 1)
        return super().__getitem__(slices)

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


class BoundCondition(_BoundCondition, tfb.AutoCompositeTensorBijector):
    """Fixes the condition of a bijector: `y = g(x; c)` with c given once.

    It takes no keyword arguments, so the result works where none can be passed, as in `tfd.JointDistribution`.

    Its batch shape is that of the condition, and slices are slices of the condition, with the same bijector. Two are
    equal where they fix the same bijector at equal conditions.

    It is a composite tensor where the bijector is one: a `tf.function` that takes or returns it is traced once for each
    bijector and shape of the condition. (Of any other bijector, `BoundCondition(...)` is no composite tensor, as TFP
    has it for `tfb.Invert`.)
    """

    def __new__(cls, bijector=None, *args, **kwargs):
        """Returns a composite tensor where the bijector is one."""
        if cls is BoundCondition and not isinstance(bijector, tf.__internal__.CompositeTensor):
            return _BoundCondition(bijector, *args, **kwargs)
        return super().__new__(cls)


def _as_condition(bijector, conditional_input):
    """Returns the condition as a `Tensor` of the bijector's dtype."""
    try:
        condition = tf.convert_to_tensor(conditional_input, dtype_hint=bijector.dtype)
    except (TypeError, ValueError):
        raise ValueError(f'`conditional_input` must be an array of numbers, got {shown(conditional_input)}.') from None
    size = getattr(bijector, 'condition_size', None)
    if condition.shape.rank == 0 or (size is not None and not condition.shape[-1:].is_compatible_with([size])):
        expected = '...' if size is None else f'..., {size}'
        raise ValueError(f'`conditional_input` must have shape [{expected}], got {condition.shape}.')
    return condition
