"""The invertible 1 x 1 convolution of Glow."""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, shown
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector


class InvertibleConvolution(ConditionalBijector):
    """Multiplies the channels of every pixel by one invertible matrix.

    #### Mathematical Details

    ```none
    x = y W,   W = P L U,   log |det dx/dy| = H W_image sum(log |diag U|)
    ```

    with the permutation P fixed, L unit lower triangular and U upper triangular with `diag U = sign *
    exp(log_diagonal)`. The signs are fixed, so W never becomes singular. W maps from the image
    side, y, to the latent side, x.

    #### References

    [1]: Durk P. Kingma, Prafulla Dhariwal. Glow: generative flow with invertible 1 x 1 convolutions, section 3.2.
    NeurIPS 2018.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        initial_matrix: ArrayLike,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'invertible_convolution',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event, channels last.
            initial_matrix: Initial W, invertible, of shape `[C, C]`, for example a rotation.
            dtype: Dtype of the events.
            validate_args: Unused; part of TFP's interface.
            name: Name of the operations.

        Raises:
            ValueError: If the matrix has another shape or is singular, or an argument has the wrong type.
        """
        parameters = dict(locals())
        shape, dtype = check_event_shape(event_shape), check_dtype(dtype)
        channels = shape[-1]
        matrix = _as_matrix(initial_matrix, channels)
        permutation, lower, upper = scipy.linalg.lu(matrix)
        diagonal = np.diag(upper)
        if not np.abs(diagonal).min() >= 1e-6 * np.abs(diagonal).max() > 0:
            raise ValueError('`initial_matrix` is singular; give an invertible matrix.')
        numpy_dtype = dtype.as_numpy_dtype
        # Also the fixed factors are variables, so that a checkpoint holds all of W, whatever the initial matrix was.
        self._permutation = tf.Variable(permutation.astype(numpy_dtype), trainable=False, name=f'{name}/permutation')
        self._signs = tf.Variable(np.sign(diagonal).astype(numpy_dtype), trainable=False, name=f'{name}/signs')
        self._lower = tf.Variable(np.tril(lower, -1).astype(numpy_dtype), name=f'{name}/lower')
        self._upper = tf.Variable(np.triu(upper, 1).astype(numpy_dtype), name=f'{name}/upper')
        self._log_diagonal = tf.Variable(np.log(np.abs(diagonal)).astype(numpy_dtype), name=f'{name}/log_diagonal')
        self._num_pixels = int(np.prod(shape[:-1]))
        super().__init__(
            shape,
            shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
        )

    def _factors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns L and U."""
        channels = self._lower.shape[0]
        below = tf.linalg.band_part(self._lower, -1, 0) - tf.linalg.diag(tf.linalg.diag_part(self._lower))
        above = tf.linalg.band_part(self._upper, 0, -1) - tf.linalg.diag(tf.linalg.diag_part(self._upper))
        lower = below + tf.eye(channels, dtype=self.dtype)
        upper = above + tf.linalg.diag(self._signs * tf.exp(self._log_diagonal))
        return lower, upper

    def _log_det(self, value: tf.Tensor) -> tf.Tensor:
        return tf.fill([tf.shape(value)[0]], self._num_pixels * tf.reduce_sum(self._log_diagonal))

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        lower, upper = self._factors()
        # y = x W^-1, W^-1 = U^-1 L^-1 P^T
        identity = tf.eye(self._lower.shape[0], dtype=self.dtype)
        inverse_lower = tf.linalg.triangular_solve(lower, identity, lower=True)
        inverse_upper = tf.linalg.triangular_solve(upper, identity, lower=False)
        inverse = inverse_upper @ inverse_lower @ tf.transpose(self._permutation)
        return mix_channels(x, inverse), -self._log_det(x)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        lower, upper = self._factors()
        return mix_channels(y, self._permutation @ lower @ upper), self._log_det(y)


def _as_matrix(initial_matrix: ArrayLike, channels: int) -> np.ndarray:
    """Returns the initial matrix `[C, C]` as float64."""
    try:
        matrix = np.asarray(initial_matrix, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f'`initial_matrix` must be an array of numbers, got {shown(initial_matrix)}.') from None
    if matrix.shape != (channels, channels):
        raise ValueError(f'`initial_matrix` has shape {matrix.shape}, but `event_shape` needs {(channels, channels)}.')
    if not np.isfinite(matrix).all():
        raise ValueError('`initial_matrix` holds NaN or infinity; give an invertible matrix.')
    return matrix


def mix_channels(value: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Multiplies the last axis of a value by a matrix `[C, C]`."""
    flat = tf.reshape(value, [-1, matrix.shape[0]]) @ matrix
    return tf.ensure_shape(tf.reshape(flat, tf.shape(value)), value.shape)
