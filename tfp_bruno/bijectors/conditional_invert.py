"""A conditional bijector the other way round."""

from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['ConditionalInvert']


class ConditionalInvert(ConditionalBijector):
    """Swaps the two directions of a conditional bijector, as `tfb.Invert`, for use inside a `ConditionalChain`."""

    def __init__(self, bijector, validate_args=False, name='conditional_invert'):
        """Constructs the inverse of a bijector.

        Args:
            bijector: `ConditionalBijector`.
            validate_args: Unused; for TFP's interface.
            name: Python `str`. Default value: `'conditional_invert'`.
        """
        parameters = dict(locals())
        self._bijector = bijector
        super().__init__(
            bijector._event_shape_of_y,
            bijector._event_shape_of_x,
            condition_size=bijector.condition_size,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def bijector(self):
        """The bijector whose directions are swapped."""
        return self._bijector

    def _forward_and_log_det(self, x, condition):
        return self._bijector._inverse_and_log_det(x, condition)

    def _inverse_and_log_det(self, y, condition):
        return self._bijector._forward_and_log_det(y, condition)
