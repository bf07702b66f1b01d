"""Affine coupling by a mask: checkerboards of pixels, halves of the channels, every other number."""

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_callable, check_dtype, check_event_shape, check_positive, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.coupling import CONDITIONER, bounded, initialize_conditioner, sum_over_event

__all__ = ['MaskedAffineCoupling', 'alternating_mask', 'channel_mask', 'checkerboard_mask']


def checkerboard_mask(event_shape, parity=0):
    """Returns a mask `[H, W, C]` that is 1 where row + column + parity is odd."""
    rows, columns = np.indices(event_shape[:2])
    return np.broadcast_to(((rows + columns + parity) % 2)[..., np.newaxis], event_shape).astype(np.float32)


def channel_mask(event_shape, parity=0):
    """Returns a mask `[H, W, C]` that is 1 in the first half of the channels, with parity 1 in the second."""
    first = np.arange(event_shape[-1]) < event_shape[-1] // 2
    return np.broadcast_to(first != bool(parity), event_shape).astype(np.float32)


def alternating_mask(event_shape, parity=0):
    """Returns a mask that is 1 at every other number of the flattened event, with parity 0 at those with odd index."""
    return ((np.arange(np.prod(event_shape)) + parity) % 2).reshape(event_shape).astype(np.float32)


class MaskedAffineCoupling(ConditionalBijector):
    """Transforms what a mask leaves free, given what it keeps and the condition.

    #### Mathematical Details

    ```none
    y = m x + (1 - m) (x * exp(s) + t),   (t, s) = conditioner(m x, c)
    log |det dy/dx| = sum of (1 - m) s
    ```

    with the mask m of zeros and ones; s is bounded to `(-bound, bound)` by `bound * tanh(s / bound)`. The conditioner
    sees and returns whole events. `AffineCoupling` does the same for halves of the channels at less cost.

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP, section 3.4. ICLR 2017.
    """

    def __init__(
        self,
        mask,
        conditioner,
        condition_size,
        log_scale_bound=1.0,
        dtype=tf.float32,
        validate_args=False,
        name='masked_affine_coupling',
    ):
        """Constructs the bijector.

        Args:
            mask: Array of the event's shape: 1 where an element is kept, 0 where it is transformed.
            conditioner: Callable `(x, conditional_input) -> (shift, log_scale)`; all of them have shape `[N] +
                event_shape`, but for `conditional_input`, which has shape `[N, condition_size]`.
            condition_size: `int`, size of the condition vector.
            log_scale_bound: Python `float`, bound of the log-scale. Default value: `1.0`.
            dtype: Dtype of the events. Default value: `tf.float32`.
            validate_args: Python `bool`: whether conditions must be finite. Default value: `False`.
            name: Python `str`. Default value: `'masked_affine_coupling'`.

        Raises:
            ValueError: if the mask holds other numbers than 0 and 1, or an argument has the wrong type.
        """
        parameters = dict(locals())
        condition_size = check_size(condition_size)
        mask = np.asarray(mask)
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(f'`mask` must hold zeros and ones, got {np.setdiff1d(mask, (0, 1))[:3].tolist()}.')
        check_event_shape(mask.shape, 'mask.shape')
        self._mask = mask.astype(check_dtype(dtype).as_numpy_dtype)
        self._conditioner = check_callable(conditioner, 'conditioner', CONDITIONER)
        self._bound = check_positive(log_scale_bound, 'log_scale_bound')
        super().__init__(
            mask.shape,
            mask.shape,
            condition_size=condition_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    def _free(self, shift_and_log_scale):
        """Returns shift and bounded log-scale, zero where the mask keeps the event."""
        shift, log_scale = shift_and_log_scale
        free = 1.0 - self._mask
        return free * tf.cast(shift, self.dtype), free * bounded(log_scale, self._bound, self.dtype)

    def _forward_and_log_det(self, x, condition):
        shift, log_scale = self._free(self._conditioner(self._mask * x, condition))
        return x * tf.exp(log_scale) + shift, sum_over_event(log_scale)

    def _inverse_and_log_det(self, y, condition):
        shift, log_scale = self._free(self._conditioner(self._mask * y, condition))
        return (y - shift) * tf.exp(-log_scale), -sum_over_event(log_scale)

    def _fit_and_invert(self, y, condition, overwrite):
        found = initialize_conditioner(self._conditioner, self._mask * y, condition, overwrite)
        shift, log_scale = self._free(found)
        return (y - shift) * tf.exp(-log_scale)
