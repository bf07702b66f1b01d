"""Properties, dtype, default constraints and ranges of the parameters of the processes."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import assert_util, dtype_util, parameter_properties
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._shapes import TensorLike

# `event_ndims` of a parameter that has no batch.
NO_BATCH = parameter_properties.ParameterProperties.NO_EVENT_NDIMS

# Argument: (comparison, words, bound), for `validate_args`.
_RANGES = {
    'df': ((assert_util.assert_greater, 'greater than', 2.0),),
    'marginal_variance': ((assert_util.assert_greater, 'greater than', 0.0),),
    'residual_variance': ((assert_util.assert_greater, 'greater than', 0.0),),
    'correlation': ((assert_util.assert_greater_equal, 'at least', 0.0), (assert_util.assert_less, 'less than', 1.0)),
    'constant_share': (
        (assert_util.assert_greater_equal, 'at least', 0.0),
        (assert_util.assert_less_equal, 'at most', 1.0),
    ),
}
_FINITE = ('loc', 'loadings')
_NOT_FLOATING = ('num_steps', 'observations_is_missing')


def common_dtype(name: str, tensors: dict[str, TensorLike]) -> tf.DType:
    """Returns the dtype of the arguments of a process; float32 where none has one."""
    dtypes = {
        key: dtype_util.base_dtype(value.dtype)
        for key, value in tensors.items()
        if getattr(value, 'dtype', None) is not None and key not in _NOT_FLOATING
    }
    kinds = {tf.as_dtype(kind) for kind in dtypes.values()} or {tf.float32}
    if len(kinds) > 1 or not kinds <= {tf.float32, tf.float64}:
        found = ', '.join(f'`{key}` {tf.as_dtype(kind).name}' for key, kind in dtypes.items())
        raise ValueError(f'{name}: the parameters must be float32 or float64, all the same, got {found}; cast them.')
    return kinds.pop()


def per_dimension(shape: TensorLike) -> TensorLike:
    """Returns the shape `[..., D]` of a parameter of samples of shape `[..., num_steps, D]`."""
    return ps.concat([per_sequence(shape), ps.convert_to_shape_tensor(shape)[-1:]], 0)


def per_group(shape: TensorLike) -> TensorLike:
    """Returns the shape `[..., 1]` of a parameter that all D dimensions share."""
    return ps.concat([per_sequence(shape), [1]], 0)


def per_sequence(shape: TensorLike) -> TensorLike:
    """Returns the batch shape of samples of shape `[..., num_steps, D]`."""
    shape = ps.convert_to_shape_tensor(shape)
    if tf.get_static_value(ps.size(shape)) in (0, 1):
        raise ValueError(f'`batch_and_event_shape` must be [..., num_steps, D], got {shape}.')
    return shape[:-2]


def parameter(
    name: str,
    dtype: tf.DType,
    shape_fn: Callable[[TensorLike], TensorLike] = per_dimension,
    event_ndims: int | Callable = 1,
) -> parameter_properties.ParameterProperties:
    """Returns the properties of a trainable parameter, with a constraint to its range."""
    dtype = dtype_util.as_numpy_dtype(dtype)
    bijectors = {
        'df': lambda: tfb.Softplus(low=dtype(2.0)),
        'marginal_variance': lambda: tfb.Softplus(low=dtype_util.eps(dtype)),
        'residual_variance': lambda: tfb.Softplus(low=dtype_util.eps(dtype)),
        'correlation': tfb.Sigmoid,
        'constant_share': tfb.Sigmoid,
    }
    return parameter_properties.ParameterProperties(
        event_ndims=event_ndims, shape_fn=shape_fn, default_constraining_bijector_fn=bijectors.get(name, tfb.Identity)
    )


def data(event_ndims: int) -> parameter_properties.ParameterProperties:
    """Returns the properties of data: they have a batch, and are never made trainable."""
    return parameter_properties.ParameterProperties(event_ndims=event_ndims, is_preferred=False)


def range_assertions(parameters: dict[str, tf.Tensor], dtype: tf.DType) -> list[tf.Operation]:
    """Returns assertions that parameters are finite and in their ranges."""
    in_range = [
        check(value, tf.constant(bound, dtype), message=f'Argument `{name}` must be {words} {bound:g}.')
        for name, value in parameters.items()
        for check, words, bound in _RANGES.get(name, ())
    ]
    finite = [
        tf.debugging.assert_all_finite(parameters[name], message=f'Argument `{name}` must be finite.')
        for name in _FINITE
        if name in parameters
    ]
    return in_range + finite


def vector(value: TensorLike) -> tf.Tensor:
    """Returns a parameter as a tensor of at least one axis."""
    value = tf.convert_to_tensor(value)
    return value[tf.newaxis] if value.shape.rank == 0 else value
