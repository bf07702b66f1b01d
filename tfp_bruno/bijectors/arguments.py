"""Checks of constructor arguments: one line that names the argument."""

import numbers

import numpy as np
import tensorflow as tf

__all__ = [
    'check_bijector',
    'check_callable',
    'check_dtype',
    'check_event_shape',
    'check_positive',
    'check_size',
    'shown',
]

_DTYPES = (tf.float32, tf.float64)


def check_event_shape(value, argument='event_shape', rank=None, allow_none=False):
    """Returns the shape of one event as a tuple of `int`.

    Args:
        value: What the user gave: a sequence of positive integers, or a fully defined `tf.TensorShape`.
        argument: Name of the argument.
        rank: Number of dimensions that it must have. Default value: `None`, one or more.
        allow_none: Python `bool`: whether sizes may be `None`, any. Default value: `False`.

    Raises:
        ValueError: if it is anything else.
    """
    expected = 'a list of positive integers' if rank is None else '[H, W, C], three positive integers'
    message = f'`{argument}` must be {expected}, got {shown(value)}.'
    if isinstance(value, str | bytes):
        raise ValueError(message)
    try:
        sizes = tuple(value)
    except (TypeError, ValueError):
        raise ValueError(message) from None
    known = [size for size in sizes if not (allow_none and size is None)]
    if not sizes or not all(_is_integer(size) and size > 0 for size in known) or rank not in (None, len(sizes)):
        raise ValueError(message)
    return tuple(None if size is None else int(size) for size in sizes)


def check_size(value, argument='condition_size'):
    """Returns a positive integer as `int`, or raises a `ValueError` that names the argument."""
    if not _is_integer(value) or value < 1:
        raise ValueError(f'`{argument}` must be a positive integer, got {shown(value)}.')
    return int(value)


def check_positive(value, argument):
    """Returns a positive, finite number, or raises a `ValueError` that names the argument."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 < value < np.inf:
        raise ValueError(f'`{argument}` must be a positive number, got {shown(value)}.')
    return value


def check_callable(value, argument, signature):
    """Returns a callable, or raises a `ValueError` that names the argument and says how it is called."""
    if not callable(value):
        raise ValueError(f'`{argument}` must be a callable {signature}, got {shown(value)}.')
    return value


def check_bijector(value, argument, kind):
    """Returns an instance of a class of bijectors, or raises a `ValueError` that names the argument."""
    if not isinstance(value, kind):
        raise ValueError(f'`{argument}` must be a {kind.__name__}, got {shown(value)}.')
    return value


def check_dtype(value):
    """Returns the dtype of the events as `tf.DType`, or raises a `ValueError` that names the argument."""
    try:
        dtype = tf.as_dtype(value)
    except TypeError:
        dtype = None
    if dtype not in _DTYPES:
        raise ValueError(
            f'`dtype` must be float32 or float64, got {shown(value)}; `network_dtype` lets networks use fewer bits.'
        )
    return dtype


def shown(value):
    """Returns a value as an error message shows it: in one line, and not for long."""
    text = ' '.join(repr(value).split())
    return text if len(text) <= 100 else f'{text[:97]}...'


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
