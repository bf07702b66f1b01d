"""A conditional bijector with its condition fixed."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import parameter_properties

from tfp_bruno.bijectors.arguments import check_bijector, shown
from tfp_bruno.bijectors.conditional_bijector import NoCache
from tfp_bruno.bijectors.copying import check_slices
from tfp_bruno.bijectors.shapes import TensorLike


class _BoundCondition(tfb.Bijector):
    """`BoundCondition` of a bijector that is not a composite tensor."""

    _cache = NoCache()

    def __init__(
        self,
        bijector: tfb.Bijector,
        conditional_input: TensorLike,
        validate_args: bool = False,
        name: str = 'bound_condition',
    ) -> None:
        """Constructs the bijector.

        Args:
            bijector: A bijector whose methods take `conditional_input`.
            conditional_input: The condition, of shape `[..., condition_size]`.
            validate_args: Unused; part of TFP's interface.
            name: Name of the operations.

        Raises:
            ValueError: If an argument has the wrong type or shape; one line names it.
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
    def _parameter_properties(cls, dtype: tf.DType) -> dict[str, parameter_properties.ParameterProperties]:
        return {'conditional_input': parameter_properties.ParameterProperties(event_ndims=1)}

    @property
    def _is_permutation(self) -> bool:
        return self._bijector._is_permutation

    def __getitem__(self, slices: Any) -> tfb.Bijector:
        check_slices(self.name, slices, self._conditional_input.shape.rank - 1)
        return super().__getitem__(slices)

    @property
    def bijector(self) -> tfb.Bijector:
        """The conditional bijector."""
        return self._bijector

    @property
    def conditional_input(self) -> tf.Tensor:
        """The condition that it is bound to, of the bijector's dtype."""
        return self._conditional_input

    def forward_and_log_det(self, x: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `g(x; c)` and its log-determinant from one evaluation."""
        return self._bijector.forward_and_log_det(x, self._conditional_input)

    def inverse_and_log_det(self, y: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the inverse at y and its log-determinant from one evaluation."""
        return self._bijector.inverse_and_log_det(y, self._conditional_input)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._bijector.forward(x, conditional_input=self._conditional_input)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._bijector.inverse(y, conditional_input=self._conditional_input)

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return self._bijector.forward_log_det_jacobian(x, conditional_input=self._conditional_input)

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._bijector.inverse_log_det_jacobian(y, conditional_input=self._conditional_input)

    def _forward_event_shape(self, input_shape: TensorLike) -> tf.TensorShape:
        return self._bijector.forward_event_shape(input_shape)

    def _inverse_event_shape(self, output_shape: TensorLike) -> tf.TensorShape:
        return self._bijector.inverse_event_shape(output_shape)

    def _forward_event_shape_tensor(self, input_shape: tf.Tensor) -> tf.Tensor:
        return self._bijector.forward_event_shape_tensor(input_shape)

    def _inverse_event_shape_tensor(self, output_shape: tf.Tensor) -> tf.Tensor:
        return self._bijector.inverse_event_shape_tensor(output_shape)


class BoundCondition(_BoundCondition, tfb.AutoCompositeTensorBijector):
    """Fixes the condition of a bijector: `y = g(x; c)` with c given once.

    Its methods take no keyword arguments, so it can be used where none can be passed, as in `tfd.JointDistribution`.

    Its batch shape is that of the condition; a slice has the sliced condition and the same bijector. Two are equal if
    they have the same bijector and equal conditions.

    It is a composite tensor if the bijector is one (as `tfb.Invert` of TFP): a `tf.function` that takes or returns it
    is traced once for each bijector and shape of the condition.
    """

    def __new__(cls, bijector: Any = None, *args: Any, **kwargs: Any) -> tfb.Bijector:
        """Returns a composite tensor if the bijector is one."""
        if cls is BoundCondition and not isinstance(bijector, tf.__internal__.CompositeTensor):
            return _BoundCondition(bijector, *args, **kwargs)
        return super().__new__(cls)


def _as_condition(bijector: tfb.Bijector, conditional_input: TensorLike) -> tf.Tensor:
    """Returns the condition as a tensor of the bijector's dtype."""
    try:
        condition = tf.convert_to_tensor(conditional_input, dtype_hint=bijector.dtype)
    except (TypeError, ValueError):
        raise ValueError(f'`conditional_input` must be an array of numbers, got {shown(conditional_input)}.') from None
    size = getattr(bijector, 'condition_size', None)
    if condition.shape.rank == 0 or (size is not None and not condition.shape[-1:].is_compatible_with([size])):
        expected = '...' if size is None else f'..., {size}'
        raise ValueError(f'`conditional_input` must have shape [{expected}], got {condition.shape}.')
    return condition
