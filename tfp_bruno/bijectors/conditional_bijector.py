"""The base class of the conditional bijectors: one evaluation returns value and log-determinant."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import cache_util

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_size
from tfp_bruno.bijectors.composite_tensor import BijectorSpec, as_output
from tfp_bruno.bijectors.copying import SlicedByTFP, check_slices, construct_with_variables
from tfp_bruno.bijectors.shapes import (
    TensorLike,
    broadcast_batches,
    never_empty,
    replace_event,
    replace_event_tensor,
)

_ValueAndLogDet = tuple[tf.Tensor, tf.Tensor]


class NoCache(cache_util.BijectorCache):
    """A bijector cache that stores nothing.

    TFP's cache is keyed on tensor identity and on the equality of the bijectors' parameters. It would return the values
    of one flow for another of equal settings but different weights, and values drawn outside a gradient tape would cut
    the gradients inside it.
    """

    def _lookup(self, input: Any, forward_name: str, inverse_name: str, **kwargs: Any) -> Any:
        return self._invoke(input, forward_name, kwargs, {})

    def _attributes(self, input: Any, fn_name: str, **kwargs: Any) -> dict[str, Any]:
        return {}


class ConditionalBijector(tfb.Bijector, tf.__internal__.CompositeTensor, metaclass=abc.ABCMeta):
    """A bijector `y = g(x; c)` of events that depends on a vector of conditions `c`.

    #### Mathematical Details

    For each event x with condition c, a subclass computes

    ```none
    y = g(x; c),   forward log-determinant = log |det dg(x; c) / dx|
    ```

    in one evaluation, `_forward_and_log_det(x, c)`, and the inverse in another. Both take a flat batch: `x` of shape
    `[N] + event` and `c` of shape `[N, condition_size]` (`None` if the bijector takes no condition). This class derives
    TFP's interface from them: leading dimensions, broadcasting, `forward`, `inverse`, both log-determinants, shapes.

    `forward_and_log_det` and `inverse_and_log_det` evaluate every network once; densities should use them. Nothing is
    cached, so no value is ever stale.

    #### Equality, slices, copies, composite tensors

    Equality is identity, since two flows of equal settings have different weights. The weights have no batch, so
    `bijector[...]` and `bijector[tf.newaxis]` are the bijector itself, and other indices are errors. `copy` returns a
    bijector that shares the variables, or raises an error if the new arguments need others. A bijector is a composite
    tensor: it may be an argument and a result of a `tf.function`, always with its own variables, and a function is
    traced once for each bijector.
    """

    _cache = NoCache()

    def __init__(
        self,
        forward_event_shape: Sequence[int],
        inverse_event_shape: Sequence[int],
        condition_size: int | None = None,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        parameters: dict[str, Any] | None = None,
        name: str | None = None,
        is_constant_jacobian: bool = False,
        is_elementwise: bool = False,
    ) -> None:
        """Sets the shapes of one event.

        Args:
            forward_event_shape: Shape of one event x.
            inverse_event_shape: Shape of one event y.
            condition_size: Size of the condition vector; `None` if the bijector takes no condition.
            dtype: Dtype of the events.
            validate_args: Whether values are checked at run time.
            parameters: Constructor arguments of the subclass by name.
            name: Name of the operations.
            is_constant_jacobian: Whether the Jacobian depends only on the condition.
            is_elementwise: Whether every element of y depends on one element of x.

        Raises:
            ValueError: If an argument has the wrong type; one line names it.
        """
        self._event_shape_of_x = check_event_shape(forward_event_shape, 'forward_event_shape')
        self._event_shape_of_y = check_event_shape(inverse_event_shape, 'inverse_event_shape')
        self._condition_size = None if condition_size is None else check_size(condition_size)
        self._is_elementwise = is_elementwise
        super().__init__(
            forward_min_event_ndims=len(self._event_shape_of_x),
            inverse_min_event_ndims=len(self._event_shape_of_y),
            is_constant_jacobian=is_constant_jacobian,
            dtype=check_dtype(dtype),
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType) -> dict[str, Any]:
        return {}

    @property
    def _is_permutation(self) -> bool:
        # TFP uses it to decide whether standard deviations can be mapped element by element.
        return self._is_elementwise

    @property
    def _type_spec(self) -> BijectorSpec:
        return BijectorSpec(self)

    def _shape_invariant_to_type_spec(self, shape: Any) -> BijectorSpec:
        return self._type_spec

    def _convert_variables_to_tensors(self) -> tfb.Bijector:
        return as_output(self)

    def _flatten(self, *args: Any, expand_composites: bool = False, **kwargs: Any) -> Any:
        # Parts are traversed as modules although they are composite tensors, which fixes the order of the variables.
        return super()._flatten(*args, expand_composites=False, **kwargs)

    def _broadcast_parameters_with_batch_shape(self, batch_shape: Any, x_event_ndims: Any = None) -> tfb.Bijector:
        return self

    @property
    def _tfp_batch_slice_provenance(self) -> tuple[SlicedByTFP, list[Any]]:
        return SlicedByTFP.of(self), []

    @_tfp_batch_slice_provenance.setter
    def _tfp_batch_slice_provenance(self, value: Any) -> None:
        """Does nothing: a slice is the bijector itself and has no provenance."""

    def __getitem__(self, slices: Any) -> tfb.Bijector:
        check_slices(self.name, slices, 0)
        return self

    def copy(self, **override_parameters_kwargs: Any) -> tfb.Bijector:
        """Returns a bijector with the same variables and some constructor arguments changed.

        Args:
            **override_parameters_kwargs: Constructor arguments to change.

        Raises:
            ValueError: If the variables do not fit the changed arguments.
        """
        parameters = {**self.parameters, **override_parameters_kwargs}
        copied = construct_with_variables(self, parameters)
        copied._parameters = copied._no_dependency(parameters)
        return copied

    @property
    def condition_size(self) -> int | None:
        """The size of the condition vector; `None` if the bijector takes no condition."""
        return self._condition_size

    @abc.abstractmethod
    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> _ValueAndLogDet:
        """Returns `(y, log |det dy/dx|)` of shapes `[N] + event` and `[N]`."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> _ValueAndLogDet:
        """Returns `(x, log |det dx/dy|)` of shapes `[N] + event` and `[N]`."""

    def forward_and_log_det(self, x: TensorLike, conditional_input: TensorLike | None = None) -> _ValueAndLogDet:
        """Returns `g(x; c)` and its log-determinant from one evaluation.

        Args:
            x: Shape `[B1, ..., Bb] + forward_event_shape`.
            conditional_input: Shape `[C1, ..., Cc, condition_size]`; C broadcasts against B.

        Returns:
            y: Shape `[A1, ..., Aa] + inverse_event_shape`, where A is the broadcast of B and C.
            log_det: Shape `[A1, ..., Aa]`.

        Raises:
            ValueError: If the condition is missing, or a shape does not fit.
            tf.errors.InvalidArgumentError: If the condition holds NaN or infinity, with `validate_args`.
        """
        return self._flat_call(self._forward_and_log_det, x, conditional_input, self._event_shape_of_x)

    def inverse_and_log_det(self, y: TensorLike, conditional_input: TensorLike | None = None) -> _ValueAndLogDet:
        """Returns the inverse at y and its log-determinant from one evaluation; see `forward_and_log_det`."""
        return self._flat_call(self._inverse_and_log_det, y, conditional_input, self._event_shape_of_y)

    def initialize_from_data(
        self, y: TensorLike, conditional_input: TensorLike | None = None, overwrite: bool = False
    ) -> tf.Tensor:
        """Runs the data-dependent initialisation of every part that has one, from a batch on the image side.

        `ActNorm` takes the moments of its channels and networks with weight normalisation those of their features, each
        after the parts before it have transformed the batch. Parts that are already initialised, by an earlier call or
        from a checkpoint, stay as they are. Under a `tf.distribute.Strategy`, call it in every replica, with parts of
        equal size, or in the cross-replica context with the whole batch.

        Args:
            y: Shape `[B1, ..., Bb] + inverse_event_shape`.
            conditional_input: Shape `[C1, ..., Cc, condition_size]`, see `forward_and_log_det`.
            overwrite: Whether to initialise again parts that are already initialised.

        Returns:
            The inverse at y of the initialised bijector.
        """

        def fit(y: tf.Tensor, condition: tf.Tensor | None) -> _ValueAndLogDet:
            x = self._fit_and_invert(y, condition, overwrite)
            return x, tf.zeros([tf.shape(x)[0]], x.dtype)

        return self._flat_call(fit, y, conditional_input, self._event_shape_of_y)[0]

    def _fit_and_invert(self, y: tf.Tensor, condition: tf.Tensor | None, overwrite: bool) -> tf.Tensor:
        """Initialises from the batch and returns x; most bijectors have nothing to initialise."""
        return self._inverse_and_log_det(y, condition)[0]

    def _flat_call(
        self,
        function: Callable[[tf.Tensor, tf.Tensor | None], _ValueAndLogDet],
        value: TensorLike,
        condition: TensorLike | None,
        event_shape: tuple[int, ...],
    ) -> _ValueAndLogDet:
        """Calls a function of a flat batch, and gives its results the broadcast batch shape."""
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype, name='value')
        rank = len(event_shape)
        if value.shape.rank is None or not value.shape[value.shape.rank - rank :].is_compatible_with(event_shape):
            raise ValueError(
                f'{self.name}: events must have shape {event_shape}, but the value has shape {value.shape}.'
            )
        batch = tf.shape(value)[: tf.rank(value) - rank]
        static_batch = value.shape[: value.shape.rank - rank]
        if self._condition_size is None:
            condition = None
        else:
            condition = self._check_condition(condition, value)
            static_batch = broadcast_batches(self.name, value.shape, static_batch, condition.shape)
            batch = tf.broadcast_dynamic_shape(batch, tf.shape(condition)[:-1])
            condition = tf.broadcast_to(condition, tf.concat([batch, [self._condition_size]], 0))
            condition = tf.reshape(condition, [-1, self._condition_size])
        event = tf.shape(value)[tf.rank(value) - rank :]
        static_event = value.shape[value.shape.rank - rank :]
        flat = tf.reshape(tf.broadcast_to(value, tf.concat([batch, event], 0)), tf.concat([[-1], event], 0))
        flat = tf.ensure_shape(flat, [None, *static_event])
        out, log_det = never_empty(function, flat, condition, static_batch)
        out_shape = tf.concat([batch, tf.shape(out)[1:]], 0)
        out = tf.ensure_shape(tf.reshape(out, out_shape), static_batch.concatenate(out.shape[1:]))
        return out, tf.ensure_shape(tf.reshape(log_det, batch), static_batch)

    def _check_condition(self, condition: TensorLike | None, value: tf.Tensor) -> tf.Tensor:
        if condition is None:
            raise ValueError(
                f'{self.name} needs the argument `conditional_input` of shape [..., {self._condition_size}] '
                f'for a value of shape {value.shape}; in a distribution, pass '
                "`bijector_kwargs={'conditional_input': ...}`."
            )
        condition = tf.convert_to_tensor(condition, dtype_hint=self.dtype, name='conditional_input')
        condition = tf.cast(condition, self.dtype)
        if condition.shape.rank == 0 or not condition.shape[-1:].is_compatible_with([self._condition_size]):
            raise ValueError(
                f'{self.name}: `conditional_input` must have shape [..., {self._condition_size}], '
                f'got {condition.shape}.'
            )
        if not self.validate_args:
            return condition
        message = f'{self.name}: `conditional_input` must be finite, but holds NaN or infinity; correct the poses.'
        with tf.control_dependencies([tf.debugging.assert_all_finite(condition, message)]):
            return tf.identity(condition)

    def _forward(self, x: tf.Tensor, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self.forward_and_log_det(x, conditional_input)[0]

    def _inverse(self, y: tf.Tensor, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self.inverse_and_log_det(y, conditional_input)[0]

    def _forward_log_det_jacobian(self, x: tf.Tensor, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self.forward_and_log_det(x, conditional_input)[1]

    def _inverse_log_det_jacobian(self, y: tf.Tensor, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self.inverse_and_log_det(y, conditional_input)[1]

    def _forward_event_shape(self, input_shape: TensorLike) -> tf.TensorShape:
        return replace_event(self.name, input_shape, self._event_shape_of_x, self._event_shape_of_y)

    def _inverse_event_shape(self, output_shape: TensorLike) -> tf.TensorShape:
        return replace_event(self.name, output_shape, self._event_shape_of_y, self._event_shape_of_x)

    def _forward_event_shape_tensor(self, input_shape: tf.Tensor) -> tf.Tensor:
        return replace_event_tensor(self.name, input_shape, self._event_shape_of_x, self._event_shape_of_y)

    def _inverse_event_shape_tensor(self, output_shape: tf.Tensor) -> tf.Tensor:
        return replace_event_tensor(self.name, output_shape, self._event_shape_of_y, self._event_shape_of_x)
