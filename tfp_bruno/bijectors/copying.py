"""Copies and slices of a bijector that keep its variables."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_bruno.bijectors.arguments import shown


def construct_with_variables(bijector: tfb.Bijector, parameters: dict[str, Any]) -> tfb.Bijector:
    """Constructs a bijector of the same class from other arguments, with the same variables.

    It is constructed twice: first with new variables, to learn the order in which they are created, then with the
    variables of the given bijector in their places.

    Args:
        bijector: The `ConditionalBijector`.
        parameters: Constructor arguments by name.

    Raises:
        ValueError: If the arguments need variables of other shapes or dtypes, or the constructor assigns values.
    """
    created: list[tf.Variable] = []

    def record(next_creator: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
        created.append(next_creator(**kwargs))
        return created[-1]

    with tf.variable_creator_scope(record):
        own = type(bijector)(**parameters)
    wanted = {id(_plain(new)): old for new, old in zip(own.variables, bijector.variables, strict=False)}
    if _shapes(own) != _shapes(bijector):
        raise ValueError(
            f'{bijector.name}: with these arguments a copy would start with new weights; construct '
            f'{type(bijector).__name__} instead.'
        )
    if all(new is old for new, old in zip(own.variables, bijector.variables, strict=True)):
        return own
    remaining = iter([wanted.get(id(variable)) for variable in created])
    before = [variable.numpy() for variable in bijector.variables]

    def reuse(next_creator: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
        old = next(remaining)
        return next_creator(**kwargs) if old is None else _plain(old)

    with tf.variable_creator_scope(reuse):
        copied = type(bijector)(**parameters)
    for variable, value in zip(bijector.variables, before, strict=True):
        if not np.array_equal(variable.numpy(), value, equal_nan=value.dtype.kind == 'f'):
            variable.assign(value)
            raise ValueError(
                f'{bijector.name}: {type(bijector).__name__} cannot be copied, as its constructor assigns values to '
                'its variables; give them as initial values.'
            )
    return copied


def _shapes(bijector: tfb.Bijector) -> list[tuple[tf.TensorShape, tf.DType]]:
    return [(variable.shape, variable.dtype.base_dtype) for variable in bijector.variables]


def _plain(variable: tf.Variable) -> tf.Variable:
    """Returns the variable inside a variable of tf_keras that is cast on reading."""
    return getattr(variable, '_variable', variable)


def check_slices(name: str, slices: Any, rank: int) -> None:
    """Raises a `ValueError` if slices index more than `rank` batch dimensions."""
    slices = slices if isinstance(slices, tuple | list) else (slices,)
    indices = [index for index in slices if index is not Ellipsis and index is not tf.newaxis]
    if len(indices) > rank:
        dimensions = 'no batch dimension' if rank == 0 else f'{rank} batch dimension' + 's' * (rank > 1)
        raise ValueError(f'{name} has {dimensions}, too few for the index {shown(list(slices))}.')


class SlicedByTFP:
    """Stands in for a bijector while TFP slices it: any slice of a bijector without batch is that bijector.

    TFP constructs slices from `parameters`, also those of the bijector of a distribution: they would have new weights.
    """

    parameters: dict[str, tfb.Bijector]

    def __new__(cls, bijector: tfb.Bijector) -> tfb.Bijector:
        """Returns the bijector, so that construction with `parameters` returns it."""
        return bijector

    @classmethod
    def of(cls, bijector: tfb.Bijector) -> 'SlicedByTFP':
        """Returns the stand-in for a bijector."""
        stand_in = object.__new__(cls)
        stand_in.parameters = {'bijector': bijector}
        return stand_in

    @staticmethod
    def parameter_properties(dtype: tf.DType = tf.float32) -> dict[str, Any]:
        """Returns `{}`: no parameter has a batch."""
        del dtype
        return {}

    def experimental_batch_shape_tensor(self, x_event_ndims: int | None = None) -> np.ndarray:
        """Returns the batch shape, `[]`."""
        del x_event_ndims
        return np.zeros([0], np.int32)
