"""The cosine transform of whole images, as a bijector."""

import numpy as np
import scipy.fft
import tensorflow as tf

from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector

__all__ = ['CosineTransform']


class CosineTransform(ConditionalBijector):
    """Maps amplitudes of spatial frequencies (latent side) to images `[H, W, C]`; a rotation.

    Inverse is the orthonormal cosine transform (DCT-II) over height and width of every channel. Neighbouring pixels
    vary together, amplitudes of different frequencies hardly do: what is taken as independent there is smooth noise
    in the image.
    """

    def __init__(self, image_shape, dtype=tf.float32, validate_args=False, name='cosine_transform'):
        """Constructs the bijector.

        Args:
            image_shape: `[H, W, C]`.
            dtype: Dtype of the images. Default value: `tf.float32`.
            validate_args: Unused; for TFP's interface.
            name: Python `str`. Default value: `'cosine_transform'`.
        """
        parameters = dict(locals())
        height, width, _ = image_shape
        self._rows, self._columns = (_cosines(size, tf.as_dtype(dtype).as_numpy_dtype) for size in (height, width))
        super().__init__(
            image_shape, image_shape, dtype=dtype, validate_args=validate_args, parameters=parameters, name=name
        )

    def _forward_and_log_det(self, x, condition):
        return self._transform(x, self._rows.T, self._columns.T), tf.zeros([tf.shape(x)[0]], x.dtype)

    def _inverse_and_log_det(self, y, condition):
        return self._transform(y, self._rows, self._columns), tf.zeros([tf.shape(y)[0]], y.dtype)

    def _transform(self, value, rows, columns):
        value = tf.tensordot(value, columns, [[2], [1]])
        # The axes are now [N, H, C, W]; the next product puts the height last.
        value = tf.tensordot(value, rows, [[1], [1]])
        return tf.ensure_shape(tf.transpose(value, [0, 3, 2, 1]), [None, *self._event_shape_of_x])


def _cosines(size, dtype):
    """Returns the matrix `[size, size]` from a signal to its amplitudes."""
    return scipy.fft.dct(np.eye(size), axis=0, norm='ortho').astype(dtype)
