"""The multi-scale step: half of the channels leave the convolutional path."""

import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_bijector, check_event_shape, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['FactorOut']


class FactorOut(ConditionalBijector):
    """Applies a bijector to the first half of the channels only; the second half waits beside it.

    #### Mathematical Details

    From image to latent, with f the factor by which `bijector` lowers the resolution of the first half:

    ```none
    y [H, W, C]  ->  x [H/f, W/f, f f C] = concat(bijector^-1(y_first), squeeze(y_second, f))
    ```

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP, section 3.6. ICLR 2017.
    """

    def __init__(self, event_shape, bijector, condition_size, validate_args=False, name='factor_out'):
        """Constructs the bijector.

        Args:
            event_shape: `[H, W, C]` with even C.
            bijector: `ConditionalBijector` from events `[H/f, W/f, f f C/2]` to events `[H, W, C/2]`, f >= 1.
            condition_size: `int`, size of the condition vector.
            validate_args: Python `bool`: whether conditions must be finite. Default value: `False`.
            name: Python `str`. Default value: `'factor_out'`.

        Raises:
            ValueError: if C is odd, the bijector has events or conditions of other shapes, or an argument has the
                wrong type.
        """
        parameters = dict(locals())
        condition_size = check_size(condition_size)
        check_bijector(bijector, 'bijector', ConditionalBijector)
        height, width, channels = event_shape = check_event_shape(event_shape, rank=3)
        if channels % 2:
            raise ValueError(f'Factoring out needs an even number of channels, got `event_shape` {list(event_shape)}.')
        factor = max(1, height // bijector._event_shape_of_x[0])
        latent_shape = (height // factor, width // factor, factor * factor * channels // 2)
        if (bijector._event_shape_of_y, bijector._event_shape_of_x) != ((height, width, channels // 2), latent_shape):
            raise ValueError(
                f'Factoring out of events {list(event_shape)} needs a bijector of events '
                f'{[height, width, channels // 2]}, but {bijector.name} maps {list(bijector._event_shape_of_x)} to '
                f'{list(bijector._event_shape_of_y)}.'
            )
        if bijector.condition_size not in (None, condition_size):
            raise ValueError(
                f'`condition_size` is {condition_size}, but {bijector.name} takes conditions of size '
                f'{bijector.condition_size}.'
            )
        self._bijector = bijector
        self._factor = factor
        super().__init__(
            (*latent_shape[:2], 2 * latent_shape[2]),
            event_shape,
            condition_size=condition_size,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=bijector.is_constant_jacobian,
            is_elementwise=bijector._is_elementwise,
        )

    @property
    def bijector(self):
        """The bijector of the first half of the channels."""
        return self._bijector

    def _forward_and_log_det(self, x, condition):
        first, second = tf.split(x, 2, axis=-1)
        first, log_det = self._bijector._forward_and_log_det(first, condition)
        if self._factor > 1:
            second = tf.nn.depth_to_space(second, self._factor)
        return tf.concat([first, second], -1), log_det

    def _inverse_and_log_det(self, y, condition):
        first, second = self.halves(y)
        first, log_det = self._bijector._inverse_and_log_det(first, condition)
        return tf.concat([first, second], -1), log_det

    def _fit_and_invert(self, y, condition, overwrite):
        first, second = self.halves(y)
        return tf.concat([self._bijector._fit_and_invert(first, condition, overwrite), second], -1)

    def halves(self, y):
        """Returns the half of y that the bijector gets, and the one that waits, squeezed."""
        first, second = tf.split(y, 2, axis=-1)
        return first, tf.nn.space_to_depth(second, self._factor) if self._factor > 1 else second
