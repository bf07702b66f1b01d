"""The multi-scale step: half of the channels leave the convolutional path."""

import tensorflow as tf

from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['FactorOut']


class FactorOut(ConditionalBijector):
    """Applies a bijector to the first half of the channels only, at half the resolution.

    #### Mathematical Details

    From image to latent, both halves of the channels are squeezed by 2; the first half then goes on through
    `bijector`, the second waits beside it:

    ```none
    y [H, W, C]  ->  x [H/2, W/2, 4 C] = concat(bijector^-1(squeeze(y_first)), squeeze(y_second))
    ```

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP, section 3.6. ICLR 2017.
    """

    def __init__(self, event_shape, bijector, condition_size, validate_args=False, name='factor_out'):
        """Constructs the bijector.

        Args:
            event_shape: `[H, W, C]` with even H, W and C.
            bijector: `ConditionalBijector` of events `[H/2, W/2, 2 C]`.
            condition_size: `int`, size of the condition vector.
            validate_args: Unused; for TFP's interface.
            name: Python `str`. Default value: `'factor_out'`.

        Raises:
            ValueError: if H, W or C is odd.
        """
        parameters = dict(locals())
        height, width, channels = event_shape
        if height % 2 or width % 2 or channels % 2:
            raise ValueError(f'Factoring out halves needs even sizes, got `event_shape` {list(event_shape)}.')
        self._bijector = bijector
        super().__init__(
            (height // 2, width // 2, 4 * channels),
            tuple(event_shape),
            condition_size=condition_size,
            dtype=bijector.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def bijector(self):
        """The bijector of the first half of the channels."""
        return self._bijector

    def _forward_and_log_det(self, x, condition):
        first, second = tf.split(x, 2, axis=-1)
        first, log_det = self._bijector._forward_and_log_det(first, condition)
        return tf.concat([tf.nn.depth_to_space(part, 2) for part in (first, second)], -1), log_det

    def _inverse_and_log_det(self, y, condition):
        first, second = (tf.nn.space_to_depth(part, 2) for part in tf.split(y, 2, axis=-1))
        first, log_det = self._bijector._inverse_and_log_det(first, condition)
        return tf.concat([first, second], -1), log_det
