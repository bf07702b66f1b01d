"""Orthonormal discrete cosine transform of images: neighbouring pixels that vary together become separate numbers."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
import tensorflow as tf

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector


class CosineTransform(ConditionalBijector):
    """Maps images `[H, W, C]` to the coefficients of their two-dimensional discrete cosine transform (DCT-II).

    The transform is orthonormal, so its log-determinant is zero. Coefficient (i, j) is that of i half periods along H
    and j along W. The coefficients are nearly uncorrelated where neighbouring pixels resemble each other (Ahmed,
    Natarajan and Rao, "Discrete cosine transform", 1974).
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'cosine_transform',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape `[H, W, C]` of an event.
            dtype: Dtype of the events.
            validate_args: Unused; part of TFP's interface.
            name: Name of the operations.

        Raises:
            ValueError: If an argument has the wrong type.
        """
        parameters = dict(locals())
        shape, dtype = check_event_shape(event_shape, rank=3), check_dtype(dtype)
        super().__init__(
            shape,
            shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
        )

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return transform_images(x), tf.zeros([tf.shape(x)[0]], x.dtype)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return transform_images(y, inverse=True), tf.zeros([tf.shape(y)[0]], y.dtype)


def cosine_matrix(size: int) -> np.ndarray:
    """Returns the orthonormal matrix of the DCT-II of `size` numbers, float64."""
    return scipy.fft.dct(np.eye(size), axis=0, norm='ortho')


def transform_images(images: tf.Tensor, inverse: bool = False) -> tf.Tensor:
    """Returns the orthonormal cosine transform of images `[..., H, W, C]` over H and W, or its inverse."""
    shape = tf.shape(images)
    height, width, channels = images.shape[-3:]
    rows, columns = (tf.constant(cosine_matrix(size), images.dtype) for size in (height, width))
    # Along H, the other axes are columns of one product.
    product = tf.matmul(rows, tf.reshape(images, [-1, height, width * channels]), transpose_a=inverse)
    product = tf.matmul(columns, tf.reshape(product, [-1, width, channels]), transpose_a=inverse)
    return tf.ensure_shape(tf.reshape(product, shape), images.shape)
