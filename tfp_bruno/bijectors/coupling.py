"""Affine coupling: the one nonlinear step of the flow."""

import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_callable, check_event_shape, check_positive, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['CONDITIONER', 'AffineCoupling', 'bounded', 'create_weights', 'initialize_conditioner', 'sum_over_event']

CONDITIONER = '(x, conditional_input) -> (shift, log_scale)'


class AffineCoupling(ConditionalBijector):
    """Transforms one half of the channels, given the other half and the condition.

    #### Mathematical Details

    ```none
    y_a = x_a
    y_b = x_b * exp(s(x_a, c)) + t(x_a, c)
    log |det dy/dx| = sum of s(x_a, c)
    ```

    where (t, s) = `conditioner(x_a, c)`, any callable; s is bounded to `(-bound, bound)` by `bound * tanh(s / bound)`.

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR 2017.
    [2]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    2. 2019.
    """

    def __init__(
        self,
        event_shape,
        conditioner,
        condition_size,
        swap=False,
        log_scale_bound=2.0,
        dtype=tf.float32,
        validate_args=False,
        name='affine_coupling',
    ):
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event; its last axis holds an even number of channels.
            conditioner: Callable `(x_a, conditional_input) -> (shift, log_scale)`; all of them have shape `[N] +
                event_shape` with half the channels; `conditional_input` has shape `[N, condition_size]`.
            condition_size: `int`, size of the condition vector.
            swap: Python `bool`: whether the first half of the channels is the transformed one. Default value: `False`.
            log_scale_bound: Python `float`, bound of the log-scale. Default value: `2.0`.
            dtype: Dtype of the events. Default value: `tf.float32`.
            validate_args: Python `bool`: whether conditions must be finite. Default value: `False`.
            name: Python `str`. Default value: `'affine_coupling'`.

        Raises:
            ValueError: if the number of channels is odd, or an argument has the wrong type.
        """
        parameters = dict(locals())
        event_shape, condition_size = check_event_shape(event_shape), check_size(condition_size)
        if event_shape[-1] % 2:
            raise ValueError(f'A coupling needs an even number of channels, got `event_shape` {list(event_shape)}.')
        self._conditioner = check_callable(conditioner, 'conditioner', CONDITIONER)
        self._swap = swap
        self._bound = check_positive(log_scale_bound, 'log_scale_bound')
        super().__init__(
            event_shape,
            event_shape,
            condition_size=condition_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    def _split(self, value):
        first, second = tf.split(value, 2, axis=-1)
        return (second, first) if self._swap else (first, second)

    def _join(self, fixed, changed):
        return tf.concat([changed, fixed] if self._swap else [fixed, changed], axis=-1)

    def _cast(self, shift_and_log_scale):
        shift, log_scale = shift_and_log_scale
        return tf.cast(shift, self.dtype), bounded(log_scale, self._bound, self.dtype)

    def _forward_and_log_det(self, x, condition):
        fixed, changed = self._split(x)
        shift, log_scale = self._cast(self._conditioner(fixed, condition))
        return self._join(fixed, changed * tf.exp(log_scale) + shift), sum_over_event(log_scale)

    def _inverse_and_log_det(self, y, condition):
        fixed, changed = self._split(y)
        shift, log_scale = self._cast(self._conditioner(fixed, condition))
        return self._join(fixed, (changed - shift) * tf.exp(-log_scale)), -sum_over_event(log_scale)

    def _fit_and_invert(self, y, condition, overwrite):
        fixed, changed = self._split(y)
        shift, log_scale = self._cast(initialize_conditioner(self._conditioner, fixed, condition, overwrite))
        return self._join(fixed, (changed - shift) * tf.exp(-log_scale))


def bounded(log_scale, bound, dtype):
    """Returns a network's log-scale in the dtype of the events, bounded to `(-bound, bound)`."""
    return bound * tf.tanh(tf.cast(log_scale, dtype) / bound)


def sum_over_event(value):
    """Returns the sum of `[N] + event` over the event, `[N]`."""
    return tf.reduce_sum(value, axis=list(range(1, value.shape.rank)))


def initialize_conditioner(conditioner, x, condition, overwrite):
    """Returns what a conditioner gives for x, after it has started from this batch, if it can."""
    if hasattr(conditioner, 'initialize'):
        return conditioner.initialize(x, condition, overwrite)
    return conditioner(x, condition)


def create_weights(conditioner, input_shape, condition_size):
    """Returns a conditioner whose weights exist: layers of users make theirs only when they are called.

    Args:
        conditioner: Callable `(x, conditional_input) -> (shift, log_scale)`.
        input_shape: Shape of one x.
        condition_size: `int`.

    Raises:
        ValueError: if it does not give two tensors of the shape of x.
    """
    outputs = conditioner(tf.zeros([1, *input_shape]), tf.zeros([1, condition_size]))
    shapes = [tuple(part.shape) for part in outputs]
    if shapes != [(1, *input_shape)] * 2:
        raise ValueError(
            f'A conditioner must give shift and log_scale of shape {[1, *input_shape]} for x of that shape, got '
            f'{[list(shape) for shape in shapes]}.'
        )
    return conditioner
