"""The multi-scale architecture of Real NVP: squeezing, and factoring out half of the channels."""

from collections.abc import Sequence

import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_bijector, check_event_shape, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector


class Squeeze(ConditionalBijector):
    """Maps the latent side `[H/f, W/f, f f C]` to the image side `[H, W, C]`; volume-preserving.

    Forward is depth to space (latent to image), inverse is space to depth (image to latent), as in section 3.6 of
    Real NVP.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        factor: int = 2,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'squeeze',
    ) -> None:
        """Constructs the bijector.

        Args:
            image_shape: `[H, W, C]` of the image side.
            factor: Side of the blocks of pixels that become channels.
            dtype: Dtype of the images.
            validate_args: Unused; part of TFP's interface.
            name: Name of the operations.

        Raises:
            ValueError: If H or W is no multiple of the factor, or an argument has the wrong type.
        """
        parameters = dict(locals())
        factor = check_size(factor, 'factor')
        height, width, channels = shape = check_event_shape(image_shape, 'image_shape', rank=3)
        if height % factor or width % factor:
            raise ValueError(
                f'`image_shape` {list(shape)} cannot be divided by the squeeze factor {factor}; crop or pad the images.'
            )
        self._factor = factor
        super().__init__(
            (height // factor, width // factor, channels * factor * factor),
            shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
            is_elementwise=True,
        )

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.nn.depth_to_space(x, self._factor), tf.zeros([tf.shape(x)[0]], x.dtype)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.nn.space_to_depth(y, self._factor), tf.zeros([tf.shape(y)[0]], y.dtype)


class FactorOut(ConditionalBijector):
    """Applies a bijector to the first half of the channels; the second half is only squeezed.

    #### Mathematical Details

    From image to latent, with f the factor by which `bijector` lowers the resolution of the first half:

    ```none
    y [H, W, C]  ->  x [H/f, W/f, f f C] = concat(bijector^-1(y_first), squeeze(y_second, f))
    ```

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP, section 3.6. ICLR 2017.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        bijector: ConditionalBijector,
        condition_size: int,
        validate_args: bool = False,
        name: str = 'factor_out',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: `[H, W, C]` with even C.
            bijector: Bijector from events `[H/f, W/f, f f C/2]` to events `[H, W, C/2]`, f >= 1.
            condition_size: Size of the condition vector.
            validate_args: Whether conditions must be finite.
            name: Name of the operations.

        Raises:
            ValueError: If C is odd, the bijector has events or conditions of other shapes, or an argument has the
                wrong type.
        """
        parameters = dict(locals())
        condition_size = check_size(condition_size)
        check_bijector(bijector, 'bijector', ConditionalBijector)
        height, width, channels = shape = check_event_shape(event_shape, rank=3)
        if channels % 2:
            raise ValueError(f'Factoring out needs an even number of channels, got `event_shape` {list(shape)}.')
        factor = max(1, height // bijector._event_shape_of_x[0])
        latent_shape = (height // factor, width // factor, factor * factor * channels // 2)
        if (bijector._event_shape_of_y, bijector._event_shape_of_x) != ((height, width, channels // 2), latent_shape):
            raise ValueError(
                f'Factoring out of events {list(shape)} needs a bijector of events '
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
            shape,
            condition_size=condition_size,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=bijector.is_constant_jacobian,
            is_elementwise=bijector._is_elementwise,
        )

    @property
    def bijector(self) -> ConditionalBijector:
        """The bijector of the first half of the channels."""
        return self._bijector

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = tf.split(x, 2, axis=-1)
        first, log_det = self._bijector._forward_and_log_det(first, condition)
        if self._factor > 1:
            second = tf.nn.depth_to_space(second, self._factor)
        return tf.concat([first, second], -1), log_det

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = self.halves(y)
        first, log_det = self._bijector._inverse_and_log_det(first, condition)
        return tf.concat([first, second], -1), log_det

    def _fit_and_invert(self, y: tf.Tensor, condition: tf.Tensor | None, overwrite: bool) -> tf.Tensor:
        first, second = self.halves(y)
        return tf.concat([self._bijector._fit_and_invert(first, condition, overwrite), second], -1)

    def halves(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the half of y that the bijector takes, and the other half, squeezed."""
        first, second = tf.split(y, 2, axis=-1)
        return first, tf.nn.space_to_depth(second, self._factor) if self._factor > 1 else second
