"""An affine map of every pixel by volumes that are sampled where the pixel lies."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_size
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.networks import Grid, sample_volume


class ConditionalVolumeAffine(ConditionalBijector):
    """Shifts and scales every pixel by volumes, sampled at the grid of the condition.

    #### Mathematical Details

    ```none
    y = m(g(c)) + exp(s(g(c))) * x,   log |det dy/dx| = sum over elements of s(g(c))
    ```

    with trainable volumes m and s of shape `[K, H, W, C]`, and g(c) the grid of the pose c. Both volumes start at zero,
    the identity; `initialize(loc, scale)` sets them. At planes of the volume this is `ConditionalAffine`.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        grid: Grid,
        num_slices: int,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'conditional_volume_affine',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape `[H, W, C]` of an event; the planes of the volumes have the same shape.
            grid: Grid of the conditions.
            num_slices: K, the number of planes of the volumes.
            dtype: Dtype of the events.
            validate_args: Whether conditions must be finite.
            name: Name of the operations.

        Raises:
            ValueError: If an argument has the wrong type or shape, or the grid is that of other images.
        """
        parameters = dict(locals())
        event_shape, dtype = check_event_shape(event_shape, rank=3), check_dtype(dtype)
        if tuple(grid.image_size) != tuple(event_shape[:2]):
            raise ValueError(
                f'`event_shape` is {list(event_shape)}, but `grid` is that of images of {list(grid.image_size)} '
                'pixels; give both the same size.'
            )
        shape = [check_size(num_slices, 'num_slices'), *event_shape]
        self._grid = grid
        self._loc = tf.Variable(tf.zeros(shape, dtype), name=f'{name}/loc')
        self._log_scale = tf.Variable(tf.zeros(shape, dtype), name=f'{name}/log_scale')
        super().__init__(
            event_shape,
            event_shape,
            condition_size=grid.pose_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
            is_elementwise=True,
        )

    def initialize(self, loc: ArrayLike, scale: ArrayLike) -> None:
        """Sets the volumes.

        Args:
            loc: Mean, `[K, H, W, C]`.
            scale: Standard deviations, `[K, H, W, C]`, positive.

        Raises:
            ValueError: If a shape is another.
        """
        for name, variable, values in (('loc', self._loc, loc), ('scale', self._log_scale, scale)):
            if np.shape(values) != tuple(variable.shape):
                raise ValueError(
                    f'`{name}` has shape {np.shape(values)}, not {tuple(variable.shape)}; give canonical volumes.'
                )
            values = np.log(values) if name == 'scale' else np.asarray(values)
            variable.assign(values.astype(variable.dtype.as_numpy_dtype))

    def _loc_and_log_scale(self, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # One look-up of both is faster than two.
        both = sample_volume(tf.concat([self._loc, self._log_scale], -1), self._grid(condition))
        loc, log_scale = tf.split(both, 2, axis=-1)
        return loc, log_scale, tf.reduce_sum(log_scale, axis=[1, 2, 3])

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        loc, log_scale, log_det = self._loc_and_log_scale(condition)
        return loc + tf.exp(log_scale) * x, log_det

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        loc, log_scale, log_det = self._loc_and_log_scale(condition)
        return (y - loc) * tf.exp(-log_scale), -log_det
