"""Several conditional bijectors in a row, all given the same condition."""

import itertools

import tensorflow as tf

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
            condition_size: `int`, size of the condition vector. Default value: `None`, where no part takes one.
            validate_args: Python `bool`: whether conditions must be finite. Default value: `False`.
            name: Python `str`. Default value: `'conditional_chain'`.

        Raises:
            ValueError: if the event shapes of neighbours differ.
        """
        parameters = dict(locals())
        for outer, inner in itertools.pairwise(bijectors):
            if outer._event_shape_of_x != inner._event_shape_of_y:
                raise ValueError(
                    f'{outer.name} takes events of shape {outer._event_shape_of_x}, but {inner.name} makes '
                    f'{inner._event_shape_of_y}.'
                )
        self._bijectors = list(bijectors)
        super().__init__(
            bijectors[-1]._event_shape_of_x,
            bijectors[0]._event_shape_of_y,
            condition_size=condition_size,
            dtype=bijectors[0].dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
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
