"""Several conditional bijectors in a row, all given the same condition."""

import itertools

import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_bijector, check_size, shown
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['ConditionalChain']


class ConditionalChain(ConditionalBijector):
    """Composes bijectors of flat batches: `g = g_1 o g_2 o ... o g_n`, as `tfb.Chain` orders them.

    The condition reaches every part (`tfb.Chain` wants it once per part, by name, and drops it silently otherwise).
    Each part is evaluated once for value and log-determinant.
    """

    def __init__(self, bijectors, condition_size=None, validate_args=False, name='conditional_chain'):
        """Constructs the chain.

        Args:
            bijectors: List of `ConditionalBijector`, the one nearest to the image first.
            condition_size: `int`, size of the condition vector. Default value: `None`, that of the parts.
            validate_args: Python `bool`: whether conditions must be finite. Default value: `False`.
            name: Python `str`. Default value: `'conditional_chain'`.

        Raises:
            ValueError: if the list is empty or holds anything else, or if event shapes, condition sizes or dtypes of
                the parts differ.
        """
        parameters = dict(locals())
        if not isinstance(bijectors, list | tuple) or not bijectors:
            raise ValueError(f'`bijectors` must be a list of one or more ConditionalBijectors, got {shown(bijectors)}.')
        for index, part in enumerate(bijectors):
            check_bijector(part, f'bijectors[{index}]', ConditionalBijector)
        for outer, inner in itertools.pairwise(bijectors):
            if outer._event_shape_of_x != inner._event_shape_of_y:
                raise ValueError(
                    f'{outer.name} takes events of shape {outer._event_shape_of_x}, but {inner.name} makes '
                    f'{inner._event_shape_of_y}.'
                )
            if outer.dtype != inner.dtype:
                raise ValueError(
                    f'`bijectors` must have one dtype, but {outer.name} has {outer.dtype.name} and {inner.name} '
                    f'{inner.dtype.name}.'
                )
        self._bijectors = list(bijectors)
        super().__init__(
            bijectors[-1]._event_shape_of_x,
            bijectors[0]._event_shape_of_y,
            condition_size=_common_condition_size(bijectors, condition_size),
            dtype=bijectors[0].dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=all(part.is_constant_jacobian for part in bijectors),
            is_elementwise=all(part._is_elementwise for part in bijectors),
        )

    @property
    def bijectors(self):
        """The parts, the one nearest to the image first."""
        return tuple(self._bijectors)

    def _forward_and_log_det(self, x, condition):
        total = tf.zeros([tf.shape(x)[0]], x.dtype)
        for bijector in reversed(self._bijectors):
            x, log_det = bijector._forward_and_log_det(x, condition)
            total += log_det
        return x, total

    def _inverse_and_log_det(self, y, condition):
        total = tf.zeros([tf.shape(y)[0]], y.dtype)
        for bijector in self._bijectors:
            y, log_det = bijector._inverse_and_log_det(y, condition)
            total += log_det
        return y, total

    def _fit_and_invert(self, y, condition, overwrite):
        for bijector in self._bijectors:
            y = bijector._fit_and_invert(y, condition, overwrite)
        return y


def _common_condition_size(bijectors, condition_size):
    """Returns the size of the condition that all parts that take one agree on, and that was given, if any."""
    sizes = {part.name: part.condition_size for part in bijectors if part.condition_size is not None}
    if condition_size is not None:
        sizes = {'`condition_size`': check_size(condition_size), **sizes}
    if len(set(sizes.values())) > 1:
        listed = ', '.join(f'{name} {size}' for name, size in sizes.items())
        raise ValueError(f'All parts of a chain take the same condition, but its sizes differ: {listed}.')
    return next(iter(sizes.values()), None)
