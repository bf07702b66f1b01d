"""Affine couplings, the only nonlinear steps of the flow: by halves of the channels, or by a mask."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_callable, check_dtype, check_event_shape, check_positive, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

# (x, conditional_input) -> (shift, log_scale).
Conditioner = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (shape of x, condition_size) -> conditioner.
MakeConditioner = Callable[[tuple[int, ...], int], Conditioner]
# (value, condition) -> (result, log-determinant).
_Transform = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class Coupling(ConditionalBijector):
    """Base class of the affine couplings: `free * exp(log_scale) + shift`, given the rest and the condition.

    A subclass splits events into two parts, of which the conditioner sees the first and the second is transformed.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        conditioner: Conditioner,
        condition_size: int,
        log_scale_bound: float,
        dtype: tf.DType,
        validate_args: bool,
        recompute: bool,
        parameters: dict[str, Any],
        name: str,
    ) -> None:
        """Checks and sets what couplings have in common; see `AffineCoupling`."""
        self._recompute = recompute
        self._conditioner = check_callable(conditioner, 'conditioner', '(x, conditional_input) -> (shift, log_scale)')
        self._bound = check_positive(log_scale_bound, 'log_scale_bound')
        super().__init__(
            event_shape,
            event_shape,
            condition_size=check_size(condition_size),
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    def _split(self, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the part that the conditioner sees and the part that is transformed."""
        raise NotImplementedError

    def _join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """Returns the event whose parts `_split` gives."""
        raise NotImplementedError

    def _bounded(self, outputs: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns shift and bounded log-scale in the dtype of the events, from the outputs of the conditioner."""
        shift, log_scale = outputs
        return tf.cast(shift, self.dtype), self._bound * tf.tanh(tf.cast(log_scale, self.dtype) / self._bound)

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._evaluate(self._transform, x, condition)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._evaluate(self._invert, y, condition)

    def _evaluate(self, function: _Transform, value: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Calls a function, so that its gradient keeps the arguments alone, or as usual all that it needs."""
        return (tf.recompute_grad(function) if self._recompute else function)(value, condition)

    def _transform(self, x: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, free = self._split(x)
        shift, log_scale = self._bounded(self._conditioner(kept, condition))
        return self._join(kept, free * tf.exp(log_scale) + shift), _sum_over_event(log_scale)

    def _invert(self, y: tf.Tensor, condition: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, free = self._split(y)
        shift, log_scale = self._bounded(self._conditioner(kept, condition))
        return self._join(kept, (free - shift) * tf.exp(-log_scale)), -_sum_over_event(log_scale)

    def _fit_and_invert(self, y: tf.Tensor, condition: tf.Tensor, overwrite: bool) -> tf.Tensor:
        kept, free = self._split(y)
        if hasattr(self._conditioner, 'initialize'):
            outputs = self._conditioner.initialize(kept, condition, overwrite)
        else:
            outputs = self._conditioner(kept, condition)
        shift, log_scale = self._bounded(outputs)
        return self._join(kept, (free - shift) * tf.exp(-log_scale))


class AffineCoupling(Coupling):
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
        event_shape: Sequence[int],
        conditioner: Conditioner,
        condition_size: int,
        swap: bool = False,
        log_scale_bound: float = 2.0,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        recompute: bool = False,
        name: str = 'affine_coupling',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event; its last axis holds an even number of channels.
            conditioner: Callable `(x_a, conditional_input) -> (shift, log_scale)`. `x_a` and the results have shape
                `[N] + event_shape` with half the channels, `conditional_input` has shape `[N, condition_size]`.
            condition_size: Size of the condition vector.
            swap: Whether the first half of the channels is transformed instead of the second.
            log_scale_bound: Bound of the log-scale.
            dtype: Dtype of the events.
            validate_args: Whether conditions must be finite.
            recompute: Whether gradients evaluate the coupling again instead of keeping the hidden features of its
                network, which takes less memory and more time; second derivatives are then not available.
            name: Name of the operations.

        Raises:
            ValueError: If the number of channels is odd, or an argument has the wrong type.
        """
        parameters = dict(locals())
        shape = check_event_shape(event_shape)
        if shape[-1] % 2:
            raise ValueError(f'A coupling needs an even number of channels, got `event_shape` {list(shape)}.')
        self._swap = swap
        super().__init__(
            shape,
            conditioner,
            condition_size,
            log_scale_bound,
            dtype,
            validate_args,
            recompute,
            parameters=parameters,
            name=name,
        )

    def _split(self, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = tf.split(value, 2, axis=-1)
        return (second, first) if self._swap else (first, second)

    def _join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return tf.concat([changed, kept] if self._swap else [kept, changed], axis=-1)


class MaskedAffineCoupling(Coupling):
    """Transforms the elements outside a mask, given the elements inside it and the condition.

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
        mask: np.ndarray,
        conditioner: Conditioner,
        condition_size: int,
        log_scale_bound: float = 1.0,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        recompute: bool = False,
        name: str = 'masked_affine_coupling',
    ) -> None:
        """Constructs the bijector.

        Args:
            mask: Array of the event's shape: 1 for the elements that are kept, 0 for those that are transformed.
            conditioner: Callable `(x, conditional_input) -> (shift, log_scale)`. `x` and the results have shape `[N] +
                event_shape`, `conditional_input` has shape `[N, condition_size]`.
            condition_size: Size of the condition vector.
            log_scale_bound: Bound of the log-scale.
            dtype: Dtype of the events.
            validate_args: Whether conditions must be finite.
            recompute: Whether gradients evaluate the coupling again instead of keeping the hidden features of its
                network, which takes less memory and more time; second derivatives are then not available.
            name: Name of the operations.

        Raises:
            ValueError: If the mask holds other numbers than 0 and 1, or an argument has the wrong type.
        """
        parameters = dict(locals())
        check_size(condition_size)
        mask = np.asarray(mask)
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(f'`mask` must hold zeros and ones, got {np.setdiff1d(mask, (0, 1))[:3].tolist()}.')
        shape = check_event_shape(mask.shape, 'mask.shape')
        self._mask = mask.astype(check_dtype(dtype).as_numpy_dtype)
        super().__init__(
            shape,
            conditioner,
            condition_size,
            log_scale_bound,
            dtype,
            validate_args,
            recompute,
            parameters=parameters,
            name=name,
        )

    def _split(self, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._mask * value, value

    def _join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return changed

    def _bounded(self, outputs: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        free = 1.0 - self._mask
        shift, log_scale = super()._bounded(outputs)
        return free * shift, free * log_scale


def checkerboard_mask(event_shape: Sequence[int], parity: int = 0) -> np.ndarray:
    """Returns a mask `[H, W, C]` that is 1 where row + column + parity is odd."""
    rows, columns = np.indices(event_shape[:2])
    return np.broadcast_to(((rows + columns + parity) % 2)[..., np.newaxis], event_shape).astype(np.float32)


def channel_mask(event_shape: Sequence[int], parity: int = 0) -> np.ndarray:
    """Returns a mask `[H, W, C]` that is 1 in the first half of the channels, with parity 1 in the second."""
    first = np.arange(event_shape[-1]) < event_shape[-1] // 2
    return np.broadcast_to(first != bool(parity), event_shape).astype(np.float32)


def alternating_mask(event_shape: Sequence[int], parity: int = 0) -> np.ndarray:
    """Returns a mask that is 1 where the index in the flattened event plus parity is odd."""
    return ((np.arange(np.prod(event_shape)) + parity) % 2).reshape(event_shape).astype(np.float32)


def create_weights(conditioner: Conditioner, input_shape: tuple[int, ...], condition_size: int) -> Conditioner:
    """Calls a conditioner once, as layers create their weights when they are first called, and returns it.

    Args:
        conditioner: The conditioner.
        input_shape: Shape of one x.
        condition_size: Size of the condition vector.

    Raises:
        ValueError: If it does not return two tensors of the shape of x.
    """
    outputs = conditioner(tf.zeros([1, *input_shape]), tf.zeros([1, condition_size]))
    shapes = [tuple(part.shape) for part in outputs]
    if shapes != [(1, *input_shape)] * 2:
        raise ValueError(
            f'A conditioner must give shift and log_scale of shape {[1, *input_shape]} for x of that shape, got '
            f'{[list(shape) for shape in shapes]}.'
        )
    return conditioner


def _sum_over_event(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `[N] + event` over the event, `[N]`."""
    return tf.reduce_sum(value, axis=list(range(1, value.shape.rank)))
