"""A chain of conditional bijectors that share one condition."""

import itertools
from collections.abc import Sequence

import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_bijector, check_size, shown
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector


class ConditionalChain(ConditionalBijector):
    """Composes bijectors of flat batches: `g = g_1 o g_2 o ... o g_n`, as `tfb.Chain` orders them.

    Every part gets the condition (`tfb.Chain` needs it once per part, by the part's name, and otherwise drops it
    silently).
    Each part is evaluated once for value and log-determinant.
    """

    def __init__(
        self,
        bijectors: Sequence[ConditionalBijector],
        condition_size: int | None = None,
        validate_args: bool = False,
        name: str = 'conditional_chain',
    ) -> None:
        """Constructs the chain.

        Args:
            bijectors: The parts, the one nearest to the image first.
            condition_size: Size of the condition vector; `None` for that of the parts.
            validate_args: Whether conditions must be finite.
            name: Name of the operations.

        Raises:
            ValueError: If there is no part, a part is no `ConditionalBijector`, or event shapes, condition sizes or
                dtypes of the parts differ.
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
    def bijectors(self) -> tuple[ConditionalBijector, ...]:
        """The parts, the one nearest to the image first."""
        return tuple(self._bijectors)

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.zeros([tf.shape(x)[0]], x.dtype)
        for bijector in reversed(self._bijectors):
            x, log_det = bijector._forward_and_log_det(x, condition)
            total += log_det
        return x, total

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.zeros([tf.shape(y)[0]], y.dtype)
        for bijector in self._bijectors:
            y, log_det = bijector._inverse_and_log_det(y, condition)
            total += log_det
        return y, total

    def _fit_and_invert(self, y: tf.Tensor, condition: tf.Tensor | None, overwrite: bool) -> tf.Tensor:
        for bijector in self._bijectors:
            y = bijector._fit_and_invert(y, condition, overwrite)
        return y


def _common_condition_size(bijectors: Sequence[ConditionalBijector], condition_size: int | None) -> int | None:
    """Returns the condition size of the parts, which must equal the given one; `None` if no part takes a condition."""
    sizes = {part.name: part.condition_size for part in bijectors if part.condition_size is not None}
    if condition_size is not None:
        sizes = {'`condition_size`': check_size(condition_size), **sizes}
    if len(set(sizes.values())) > 1:
        listed = ', '.join(f'{name} {size}' for name, size in sizes.items())
        raise ValueError(f'All parts of a chain take the same condition, but its sizes differ: {listed}.')
    return next(iter(sizes.values()), None)
