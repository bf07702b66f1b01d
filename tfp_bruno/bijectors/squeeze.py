"""Space to depth, as a bijector."""

import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_event_shape, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['Squeeze']


class Squeeze(ConditionalBijector):
    """Maps the latent side `[H/f, W/f, f f C]` to the image side `[H, W, C]`; volume-preserving.

    Forward is depth to space (latent to image), inverse is space to depth (image to latent), as in section 3.6 of
    Real NVP.
    """

    def __init__(self, image_shape, factor=2, dtype=tf.float32, validate_args=False, name='squeeze'):
        """Constructs the bijector.

        Args:
            image_shape: `[H, W, C]` of the image side.
            factor: `int`, the side of the blocks that are moved to channels. Default value: `2`.
            dtype: Dtype of the images. Default value: `tf.float32`.
            validate_args: Unused; for TFP's interface.
            name: Python `str`. Default value: `'squeeze'`.

        Raises:
            ValueError: if H or W is no multiple of the factor, or an argument has the wrong type.
        """
        parameters = dict(locals())
        factor = check_size(factor, 'factor')
        height, width, channels = image_shape = check_event_shape(image_shape, 'image_shape', rank=3)
        if height % factor or width % factor:
            raise ValueError(
                f'`image_shape` {list(image_shape)} cannot be divided by the squeeze factor {factor}; crop or pad the '
                'images.'
            )
        self._factor = factor
        super().__init__(
            (height // factor, width // factor, channels * factor * factor),
            image_shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
            is_elementwise=True,
        )

    def _forward_and_log_det(self, x, condition):
        return tf.nn.depth_to_space(x, self._factor), tf.zeros([tf.shape(x)[0]], x.dtype)

    def _inverse_and_log_det(self, y, condition):
        return tf.nn.space_to_depth(y, self._factor), tf.zeros([tf.shape(y)[0]], y.dtype)
