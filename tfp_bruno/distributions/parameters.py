"""Properties and ranges of the parameters that several processes have."""

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.internal import assert_util, dtype_util, parameter_properties

__all__ = ['constrained_parameter', 'range_assertions']

# Argument: (comparison, words, bound), for `validate_args`.
_CHECKS = {
    'df': ((assert_util.assert_greater, 'greater than', 2.0),),
    'variance': ((assert_util.assert_greater, 'greater than', 0.0),),
    'correlation': ((assert_util.assert_greater_equal, 'at least', 0.0), (assert_util.assert_less, 'less than', 1.0)),
    'constant_share': (
        (assert_util.assert_greater_equal, 'at least', 0.0),
        (assert_util.assert_less_equal, 'at most', 1.0),
    ),
}


def constrained_parameter(name, dtype):
    """Returns the `ParameterProperties` of one of the parameters that several processes have."""
    dtype = dtype_util.as_numpy_dtype(dtype)
    bijectors = {
        'df': lambda: tfb.Softplus(low=dtype(2.0)),
        'variance': lambda: tfb.Softplus(low=dtype_util.eps(dtype)),
        'correlation': tfb.Sigmoid,
        'constant_share': tfb.Sigmoid,
    }
    constraint = {'default_constraining_bijector_fn': bijectors[name]} if name in bijectors else {}
    return parameter_properties.ParameterProperties(event_ndims=1, **constraint)


def range_assertions(parameters, dtype):
    """Returns assertions that parameters, a dict of tensors by name, are finite and in their ranges."""
    in_range = [
        check(parameter, tf.constant(bound, dtype), message=f'Argument `{name}` must be {words} {bound:g}.')
        for name, parameter in parameters.items()
        for check, words, bound in _CHECKS.get(name, ())
    ]
    finite = [
        tf.debugging.assert_all_finite(parameters[name], message=f'Argument `{name}` must be finite.')
        for name in ('loc', 'loadings')
        if name in parameters
    ]
    return in_range + finite
