"""The logit of images in [0, 1]."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_fraction
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.shapes import TensorLike

# How far beyond the bounds of y images still have a logit; the map is linear there.
_OUTSIDE = 0.05


class ImageLogit(ConditionalBijector):
    """Maps reals to intensities by a sigmoid; its inverse is the logit, the first step from image to latent.

    #### Mathematical Details

    ```none
    y = (sigmoid(x) - alpha / 2) / (1 - alpha)
    x = log(p / (1 - p)),   p = (1 - alpha) y + alpha / 2
    log |det dx/dy| = sum of log(1 - alpha) - log(p) - log(1 - p)
    ```

    where `0 < alpha < 1` keeps p away from 0 and 1. So y lies in (-margin, 1 + margin), margin = alpha / (2 (1 -
    alpha)).

    Close to these bounds, where p or 1 - p is less than q, the dtype cannot represent the differences between logits,
    and a sample would not have the density with which it was drawn. There the sigmoid is continued as a straight line,
    with its slope at q, so that a rounded y still determines x to about 0.001:

    ```none
    q = min(1024 eps, alpha / 4),   eps = 1.2e-7 in float32: |x| > 9 where alpha is above 0.0005
    ```

    So y may lie beyond the bounds. Images in [0, 1] have p >= alpha / 2 and are not affected. Values 0.05 or more
    beyond the bounds are not intensities: their logit is NaN.

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP, section 4.1. ICLR 2017.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        alpha: float = 0.05,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'image_logit',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape of one image, for example `[64, 64, 1]`.
            alpha: Share of the unit interval that is kept free at its two ends, in (0, 1).
            dtype: Dtype of the images.
            validate_args: Whether images that have no logit are an error.
            name: Name of the operations.

        Raises:
            ValueError: If alpha is not in (0, 1), or an argument has the wrong type.
        """
        parameters = dict(locals())
        shape = check_event_shape(event_shape)
        self._alpha = alpha = check_fraction(alpha, 'alpha')
        smallest = min(1024 * float(np.finfo(check_dtype(dtype).as_numpy_dtype).eps), alpha / 4)
        # The logit and the intensity where the upper straight line begins, and its slope; the lower one mirrors it.
        self._last_logit = math.log((1.0 - smallest) / smallest)
        self._last_image = (1.0 - smallest - 0.5 * alpha) / (1.0 - alpha)
        self._slope = smallest * (1.0 - smallest) / (1.0 - alpha)
        super().__init__(
            shape,
            shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_elementwise=True,
        )

    @property
    def alpha(self) -> float:
        """The share of the unit interval that is kept free at its two ends."""
        return self._alpha

    def _curved(self, x: tf.Tensor) -> tf.Tensor:
        """Returns logits, clipped to where the straight lines begin."""
        return tf.clip_by_value(x, -self._last_logit, self._last_logit)

    def _log_det(self, x: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, x.shape.rank))
        curved = self._curved(x)
        log_slope = -tf.nn.softplus(curved) - tf.nn.softplus(-curved) - math.log1p(-self._alpha)
        return tf.reduce_sum(log_slope, axes)

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        curved = self._curved(x)
        y = (tf.sigmoid(curved) - 0.5 * self._alpha) / (1.0 - self._alpha)
        return y + self._slope * _excess(x, -self._last_logit, self._last_logit), self._log_det(x)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        x = self._inverse(y)
        return x, -self._log_det(x)

    def _inverse(self, y: tf.Tensor, conditional_input: TensorLike | None = None) -> tf.Tensor:
        curved = tf.clip_by_value(y, 1.0 - self._last_image, self._last_image)
        excess = _excess(y, 1.0 - self._last_image, self._last_image)
        p = (1.0 - self._alpha) * curved + 0.5 * self._alpha
        x = tf.math.log(p / (1.0 - p)) + excess / self._slope
        margin = 0.5 * self._alpha / (1.0 - self._alpha) + _OUTSIDE
        is_image = tf.abs(y - 0.5) < 0.5 + margin
        if not self.validate_args:
            return tf.where(is_image, x, math.nan)
        message = f'{self.name}: image values must lie in ({-margin:.4f}, {1 + margin:.4f}); scale the image to [0, 1].'
        with tf.control_dependencies([tf.debugging.assert_equal(is_image, True, message=message)]):
            return tf.identity(x)


def _excess(value: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Returns how far a value is above `high` or, negative, below `low`; the gradient between them is exactly 0."""
    return tf.nn.relu(value - high) - tf.nn.relu(low - value)
