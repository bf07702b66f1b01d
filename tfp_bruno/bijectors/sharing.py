"""Copies and slices of a bijector that keep its variables."""

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import shown

__all__ = ['SlicedByTFP', 'check_slices', 'construct_with_variables']


def construct_with_variables(bijector, parameters):
    """Constructs a bijector of the same class and other arguments, with the same variables.

    It is constructed twice: first with variables of its own, which tells the order in which they are created, then
    with those of the given bijector in their places.

    Args:
        bijector: `ConditionalBijector`.
        parameters: Python `dict` of constructor arguments.

    Returns:
        A bijector of the same class.

    Raises:
        ValueError: if the arguments ask for variables of other shapes or dtypes, or the constructor assigns values.
    """
    created = []

    def record(next_creator, **kwargs):
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

    def reuse(next_creator, **kwargs):
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


def _shapes(bijector):
    return [(variable.shape, variable.dtype.base_dtype) for variable in bijector.variables]


def _plain(variable):
    """Returns the variable that tf_keras wraps where networks have a dtype of their own."""
    return getattr(variable, '_variable', variable)


def check_slices(name, slices, rank):
    """Raises a `ValueError` if slices index more than the `rank` batch dimensions."""
    slices = slices if isinstance(slices, tuple | list) else (slices,)
    indices = [index for index in slices if index is not Ellipsis and index is not tf.newaxis]
    if len(indices) > rank:
        dimensions = 'no batch dimension' if rank == 0 else f'{rank} batch dimension' + 's' * (rank > 1)
        raise ValueError(f'{name} has {dimensions}, too few for the index {shown(list(slices))}.')


class SlicedByTFP:
    """Takes the place of a bijector where TFP slices it: any slice of a bijector without batch is that bijector.

    TFP's slices are constructed from `parameters`, that is, with new weights, also when a distribution is sliced.
    """

    def __new__(cls, bijector):
        """Returns the bijector: constructing with `parameters` gives it back."""
        return bijector

    @classmethod
    def of(cls, bijector):
        """Returns the replacement of a bijector."""
        replacement = object.__new__(cls)
        replacement.parameters = {'bijector': bijector}
        return replacement

    @staticmethod
    def parameter_properties(dtype=tf.float32):
        """Returns that nothing has a batch."""
        del dtype
        return {}

    def experimental_batch_shape_tensor(self, x_event_ndims=None):
        """Returns the batch shape, `[]`."""
        del x_event_ndims
        return np.zeros([0], np.int32)
