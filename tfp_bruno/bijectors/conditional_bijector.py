"""The base class of the conditional bijectors: one evaluation gives value and log-determinant."""

import abc

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import cache_util

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_size
from tfp_bruno.bijectors.composite import BijectorSpec, as_output
from tfp_bruno.bijectors.flat_batches import broadcast_batches, never_empty, replace_event, replace_event_tensor
from tfp_bruno.bijectors.sharing import SlicedByTFP, check_slices, construct_with_variables

__all__ = ['ConditionalBijector']


class _NoCache(cache_util.BijectorCache):
    """A bijector cache that never answers from memory.

    The cache of TFP is keyed on tensor identity and on the equality of the bijectors' parameters. Two flows with
    equal settings but different weights answer for each other there, and values drawn outside a gradient tape cut the
    gradients inside it.
    """

    def _lookup(self, input, forward_name, inverse_name, **kwargs):
        return self._invoke(input, forward_name, kwargs, {})

    def _attributes(self, input, fn_name, **kwargs):
        return {}


class ConditionalBijector(tfb.Bijector, tf.__internal__.CompositeTensor, metaclass=abc.ABCMeta):
    """A bijector `y = g(x; c)` of events that depends on a vector of conditions `c`.

    #### Mathematical Details

    For each event x with condition c, a subclass computes

    ```none
    y = g(x; c),   forward log-determinant = log |det dg(x; c) / dx|
    ```

    in one evaluation, `_forward_and_log_det(x, c)`, and the inverse in another. Both see a flat batch: `x` of shape
    `[N] + event` and `c` of shape `[N, condition_size]` (`None` where the bijector takes no condition). All that TFP
    asks for (leading dimensions, broadcasting, `forward`, `inverse`, both log-determinants, shapes) is derived here.

    The public pair `forward_and_log_det`, `inverse_and_log_det` evaluates every network once; densities should use
    it. There is no cache, so no answer is ever stale.

    #### Equality, slices, copies, composite tensors

    Equality is identity: two flows of equal settings have weights of their own. The weights have no batch, so
    `bijector[...]` and `bijector[tf.newaxis]` are the bijector itself, and other indices are errors. `copy` returns a
    bijector that shares the variables, or raises where the new arguments ask for others. A bijector is a composite
    tensor: it may be an argument and a result of a `tf.function`, always with its own variables, and a function is
    traced once for each bijector.
    """

    _cache = _NoCache()

    def __init__(
        self,
        forward_event_shape,
        inverse_event_shape,
        condition_size=None,
        dtype=tf.float32,
        validate_args=False,
        parameters=None,
        name=None,
        is_constant_jacobian=False,
        is_elementwise=False,
    ):
        """Sets the shapes of one event.

        Args:
            forward_event_shape: Shape of one event x, a tuple of `int`; `None` where any size is taken.
            inverse_event_shape: Shape of one event y, likewise.
            condition_size: `int`, the size of the condition vector. `None` where the bijector takes no condition.
            dtype: Dtype of the events. Default value: `tf.float32`.
            validate_args: Python `bool`: whether values are checked at run time. Default value: `False`.
            parameters: Python `dict` of the subclass' constructor arguments.
            name: Python `str`, the name of the operations.
            is_constant_jacobian: Python `bool`: whether the Jacobian depends on the condition alone. Default value:
                `False`.
            is_elementwise: Python `bool`: whether every element of y depends on one element of x. Default value:
                `False`.

        Raises:
            ValueError: if an argument has the wrong type; one line names it.
        """
        self._event_shape_of_x = check_event_shape(forward_event_shape, 'forward_event_shape', allow_none=True)
        self._event_shape_of_y = check_event_shape(inverse_event_shape, 'inverse_event_shape', allow_none=True)
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

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def _is_permutation(self):
        # TFP asks this to know whether standard deviations can be mapped element by element.
        return self._is_elementwise

    @property
    def _type_spec(self):
        return BijectorSpec(self)

    def _shape_invariant_to_type_spec(self, shape):
        return self._type_spec

    def _convert_variables_to_tensors(self):
        return as_output(self)

    def _flatten(self, *args, expand_composites=False, **kwargs):
        # Parts are walked as modules, though they are composite tensors: lists of variables keep their order.
        return super()._flatten(*args, expand_composites=False, **kwargs)

    def _broadcast_parameters_with_batch_shape(self, batch_shape, x_event_ndims=None):
        return self

    @property
    def _tfp_batch_slice_provenance(self):
        return SlicedByTFP.of(self), []

    @_tfp_batch_slice_provenance.setter
    def _tfp_batch_slice_provenance(self, value):
        """A slice is the bijector itself: there is no history to keep."""

    def __getitem__(self, slices):
        check_slices(self.name, slices, 0)
        return self

    def copy(self, **override_parameters_kwargs):
        """Returns a bijector with the same variables and some constructor arguments changed.

        Args:
            **override_parameters_kwargs: Constructor arguments to change.

        Raises:
            ValueError: if the variables do not fit the changed arguments.
        """
        parameters = {**self.parameters, **override_parameters_kwargs}
        copied = construct_with_variables(self, parameters)
        copied._parameters = copied._no_dependency(parameters)
        return copied

    @property
    def condition_size(self):
        """The size of the condition vector, or `None` where no condition is taken."""
        return self._condition_size

    @abc.abstractmethod
    def _forward_and_log_det(self, x, condition):
        """Returns `(y, log |det dy/dx|)` of shapes `[N] + event` and `[N]`."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y, condition):
        """Returns `(x, log |det dx/dy|)` of shapes `[N] + event` and `[N]`."""

    def forward_and_log_det(self, x, conditional_input=None):
        """Returns `g(x; c)` and its log-determinant from one evaluation.

        Args:
            x: `Tensor` of shape `[B1, ..., Bb] + forward_event_shape`.
            conditional_input: `Tensor` of shape `[C1, ..., Cc, condition_size]`; `[C1, ..., Cc]` broadcasts against
                `[B1, ..., Bb]`.

        Returns:
            y: `Tensor` of shape `[A1, ..., Aa] + inverse_event_shape`, where A is the broadcast of B and C.
            log_det: `Tensor` of shape `[A1, ..., Aa]`.

        Raises:
            ValueError: if the condition is missing, or a shape does not fit.
            tf.errors.InvalidArgumentError: with `validate_args`, if the condition holds NaN or infinity.
        """
        return self._flat_call(self._forward_and_log_det, x, conditional_input, self._event_shape_of_x)

    def inverse_and_log_det(self, y, conditional_input=None):
        """Returns the inverse at y and its log-determinant from one evaluation; see `forward_and_log_det`."""
        return self._flat_call(self._inverse_and_log_det, y, conditional_input, self._event_shape_of_y)

    def initialize_from_data(self, y, conditional_input=None, overwrite=False):
        """Lets every part that can start from data do so, from a batch on the image side.

        `ActNorm` takes the moments of its channels and networks with weight normalisation those of their features, each
        of what the parts before it make of the batch. What has started already, in this call's past or before a
        checkpoint was written, is left as it is. Under a `tf.distribute.Strategy`, call it in every replica, with
        parts of equal size, or in the cross-replica context with the whole batch.

        Args:
            y: `Tensor` of shape `[B1, ..., Bb] + inverse_event_shape`.
            conditional_input: `Tensor` of shape `[C1, ..., Cc, condition_size]`, see `forward_and_log_det`.
            overwrite: Python `bool`: whether parts that have started already start anew. Default value: `False`.

        Returns:
            x: What the initialised bijector makes of y, as `inverse`.
        """

        def fit(y, condition):
            x = self._fit_and_invert(y, condition, overwrite)
            return x, tf.zeros([tf.shape(x)[0]], x.dtype)

        return self._flat_call(fit, y, conditional_input, self._event_shape_of_y)[0]

    def _fit_and_invert(self, y, condition, overwrite):
        """Returns x after this bijector has started from the batch; most have nothing to start."""
        return self._inverse_and_log_det(y, condition)[0]

    def _flat_call(self, function, value, condition, event_shape):
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

    def _check_condition(self, condition, value):
        if condition is None:
            raise ValueError(
                f'{self.name} needs the argument `conditional_input` of shape [..., {self._condition_size}] '
                f'beside a value of shape {value.shape}; in a distribution, pass '
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
        message = f'{self.name}: `conditional_input` must be finite; it holds NaN or infinity, mend the poses.'
        with tf.control_dependencies([tf.debugging.assert_all_finite(condition, message)]):
            return tf.identity(condition)

    def _forward(self, x, conditional_input=None):
        return self.forward_and_log_det(x, conditional_input)[0]

    def _inverse(self, y, conditional_input=None):
        return self.inverse_and_log_det(y, conditional_input)[0]

    def _forward_log_det_jacobian(self, x, conditional_input=None):
        return self.forward_and_log_det(x, conditional_input)[1]

    def _inverse_log_det_jacobian(self, y, conditional_input=None):
        return self.inverse_and_log_det(y, conditional_input)[1]

    def _forward_event_shape(self, input_shape):
        return replace_event(self.name, input_shape, self._event_shape_of_x, self._event_shape_of_y)

    def _inverse_event_shape(self, output_shape):
        return replace_event(self.name, output_shape, self._event_shape_of_y, self._event_shape_of_x)

    def _forward_event_shape_tensor(self, input_shape):
        return replace_event_tensor(self.name, input_shape, self._event_shape_of_x, self._event_shape_of_y)

    def _inverse_event_shape_tensor(self, output_shape):
        return replace_event_tensor(self.name, output_shape, self._event_shape_of_y, self._event_shape_of_x)
