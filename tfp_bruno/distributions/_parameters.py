"""Properties, default constraints and ranges of the parameters of the processes."""

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import assert_util, dtype_util, parameter_properties
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['NO_BATCH', 'data', 'parameter', 'per_dimension', 'per_group', 'per_sequence', 'range_assertions', 'vector']

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


def per_dimension(shape):
    """Returns the shape `[..., D]` of a parameter of samples of shape `[..., num_steps, D]`."""
    return ps.concat([per_sequence(shape), ps.convert_to_shape_tensor(shape)[-1:]], 0)


def per_group(shape):
    """Returns the shape `[..., 1]` of a parameter that all D dimensions share."""
    return ps.concat([per_sequence(shape), [1]], 0)


def per_sequence(shape):
    """Returns the batch shape of samples of shape `[..., num_steps, D]`."""
    shape = ps.convert_to_shape_tensor(shape)
    if tf.get_static_value(ps.size(shape)) in (0, 1):
        raise ValueError(f'`batch_and_event_shape` must be [..., num_steps, D], got {shape}.')
    return shape[:-2]


def parameter(name, dtype, shape_fn=per_dimension, event_ndims=1):
    """Returns the `ParameterProperties` of a trainable parameter, with the constraint that its range asks for."""
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


def data(event_ndims):
    """Returns the `ParameterProperties` of data: they have a batch, and are never made trainable."""
    return parameter_properties.ParameterProperties(event_ndims=event_ndims, is_preferred=False)


def range_assertions(parameters, dtype):
    """Returns assertions that parameters, a dict of tensors by name, are finite and in their ranges."""
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


def vector(value):
    """Returns a parameter as a `Tensor` of at least one axis; `None` stays `None`."""
    if value is None:
        return None
    value = tf.convert_to_tensor(value)
    return value[tf.newaxis] if value.shape.rank == 0 else value
