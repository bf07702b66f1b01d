"""Images in [0, 1] to the real line."""

import math

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['ImageLogit']


class ImageLogit(ConditionalBijector):
    """Squashes reals to intensities; its inverse is the logit that every image flow begins with.

    #### Mathematical Details

    ```none
    y = (sigmoid(x) - alpha / 2) / (1 - alpha)
    x = log(p / (1 - p)),   p = (1 - alpha) y + alpha / 2
    log |det dx/dy| = sum of log(1 - alpha) - log(p) - log(1 - p)
    ```

    where `0 < alpha < 1` keeps p away from 0 and 1. So y lies in (-margin, 1 + margin), margin = alpha / (2 (1 -
    alpha)).

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP, section 4.1. ICLR 2017.
    """

    def __init__(self, event_shape, alpha=0.05, dtype=tf.float32, validate_args=False, name='image_logit'):
        """Constructs the bijector.

        Args:
            event_shape: Shape of one image, for example `[64, 64, 1]`.
            alpha: Python `float` in (0, 1). Default value: `0.05`.
            dtype: Dtype of the images. Default value: `tf.float32`.
            validate_args: Python `bool`: whether images outside the range are an error. Default value: `False`.
            name: Python `str`. Default value: `'image_logit'`.

        Raises:
            ValueError: if alpha is not in (0, 1).
        """
        parameters = dict(locals())
        if not 0 < alpha < 1:
            raise ValueError(f'`alpha` must be in (0, 1), got {alpha}.')
        self._alpha = alpha
        super().__init__(
            event_shape, event_shape, dtype=dtype, validate_args=validate_args, parameters=parameters, name=name
        )

    @property
    def alpha(self):
        """The share of the unit interval that is kept free at its two ends."""
        return self._alpha

    def _log_det(self, x):
        axes = list(range(1, x.shape.rank))
        log_slope = -tf.nn.softplus(x) - tf.nn.softplus(-x) - math.log1p(-self._alpha)
        return tf.reduce_sum(log_slope, axes)

    def _forward_and_log_det(self, x, condition):
        y = (tf.sigmoid(x) - 0.5 * self._alpha) / (1.0 - self._alpha)
        return y, self._log_det(x)

    def _inverse_and_log_det(self, y, condition):
        x = self._inverse(y)
        return x, -self._log_det(x)

    def _inverse(self, y, conditional_input=None):
        p = (1.0 - self._alpha) * y + 0.5 * self._alpha
        with tf.control_dependencies(self._assertions(p)):
            p = _off_the_ends(p)
            return tf.math.log(p / (1.0 - p))

    def _assertions(self, p):
        if not self.validate_args:
            return []
        margin = 0.5 * self._alpha / (1.0 - self._alpha)
        message = f'{self.name}: image values must lie in ({-margin:.4f}, {1 + margin:.4f}); scale the image to [0, 1].'
        return [
            tf.debugging.assert_positive(p, message=message),
            tf.debugging.assert_less(p, tf.ones([], p.dtype), message=message),
        ]


def _off_the_ends(p):
    """Returns probabilities of which those that rounding took to 0 or 1, or just beyond, have finite logits again."""
    epsilon = np.finfo(p.dtype.as_numpy_dtype).eps
    inside = tf.clip_by_value(p, epsilon, 1.0 - epsilon)
    # What lies farther out was no image, and stays without a logit.
    return tf.where(tf.abs(p - inside) <= 8.0 * epsilon, inside, p)
