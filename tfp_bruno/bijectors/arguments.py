"""Checks of constructor arguments: an error is one line that names the argument."""

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

_DTYPES = (tf.float32, tf.float64)


def check_event_shape(value: Any, argument: str = 'event_shape', rank: int | None = None) -> tuple[int, ...]:
    """Returns the shape of one event.

    Args:
        value: A sequence of positive integers, or a fully defined `tf.TensorShape`.
        argument: Name of the argument.
        rank: Number of dimensions that it must have; `None` for one or more.

    Raises:
        ValueError: If it is anything else.
    """
    expected = 'a list of positive integers' if rank is None else '[H, W, C], three positive integers'
    message = f'`{argument}` must be {expected}, got {shown(value)}.'
    if isinstance(value, str | bytes):
        raise ValueError(message)
    try:
        sizes = tuple(value)
    except (TypeError, ValueError):
        raise ValueError(message) from None
    if not sizes or not all(_is_integer(size) and size > 0 for size in sizes) or rank not in (None, len(sizes)):
        raise ValueError(message)
    return tuple(int(size) for size in sizes)


def check_size(value: Any, argument: str = 'condition_size') -> int:
    """Returns a positive integer, or raises a `ValueError` that names the argument."""
    if not _is_integer(value) or value < 1:
        raise ValueError(f'`{argument}` must be a positive integer, got {shown(value)}.')
    return int(value)


def check_positive(value: Any, argument: str) -> float:
    """Returns a positive, finite number, or raises a `ValueError` that names the argument."""
    if not _is_number(value) or not 0 < value < np.inf:
        raise ValueError(f'`{argument}` must be a positive number, got {shown(value)}.')
    return value


def check_fraction(value: Any, argument: str) -> float:
    """Returns a number between 0 and 1, exclusive, or raises a `ValueError` that names the argument."""
    if not _is_number(value) or not 0 < value < 1:
        raise ValueError(f'`{argument}` must be in (0, 1), got {shown(value)}.')
    return value


def check_callable(value: Any, argument: str, signature: str) -> Callable[..., Any]:
    """Returns a callable, or raises a `ValueError` that names the argument and gives the signature."""
    if not callable(value):
        raise ValueError(f'`{argument}` must be a callable {signature}, got {shown(value)}.')
    return value


def check_bijector(value: Any, argument: str, kind: type) -> Any:
    """Returns an instance of a class of bijectors, or raises a `ValueError` that names the argument."""
    if not isinstance(value, kind):
        raise ValueError(f'`{argument}` must be a {kind.__name__}, got {shown(value)}.')
    return value


def check_dtype(value: Any) -> tf.DType:
    """Returns the dtype of the events, or raises a `ValueError` that names the argument."""
    try:
        dtype = tf.as_dtype(value)
    except TypeError:
        dtype = None
    if dtype not in _DTYPES:
        raise ValueError(
            f'`dtype` must be float32 or float64, got {shown(value)}; `network_dtype` lets networks use fewer bits.'
        )
    return dtype


def shown(value: Any) -> str:
    """Returns a value as text for an error message: on one line, at most 100 characters."""
    text = ' '.join(repr(value).split())
    return text if len(text) <= 100 else f'{text[:97]}...'


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
