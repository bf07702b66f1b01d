"""Kernels over poses, and tables of values at poses that are one-hot: the number of a slice."""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.math import psd_kernels

from tfp_bruno.distributions._shapes import TensorLike

SLICE_KERNELS = {
    'exponential': psd_kernels.MaternOneHalf,
    'matern_three_halves': psd_kernels.MaternThreeHalves,
    'squared_exponential': psd_kernels.ExponentiatedQuadratic,
}


@tfp.experimental.auto_composite_tensor(omit_kwargs=('name',))
class PoseTable(tf.Module, tfp.experimental.AutoCompositeTensor):
    """A callable that looks up values at one-hot poses: for pose-dependent means and loadings."""

    def __init__(self, values: TensorLike | tf.Variable, name: str | None = None) -> None:
        """Stores the table `[P, ...]`, one entry for each one-hot pose."""
        super().__init__(name=name)
        self.values = values if isinstance(values, tf.Variable) else tf.convert_to_tensor(values)

    def __call__(self, poses: tf.Tensor) -> tf.Tensor:
        """Returns the values `[..., n, ...]` at one-hot poses `[..., n, P]`; no gradient flows to the poses."""
        # Copying entries is many times faster than a product with a large table.
        return tf.gather(tf.convert_to_tensor(self.values), tf.argmax(poses, axis=-1))


@tfp.experimental.auto_composite_tensor
class _Positions(tfp.experimental.AutoCompositeTensor):
    """A callable, for `FeatureTransformed`, from one-hot poses `[..., K]` to their numbers `[..., 1]`.

    Two with the same K are equal, so a new kernel causes no new trace.
    """

    def __init__(self, num_slices: int) -> None:
        self.num_slices = num_slices

    def __call__(self, poses: tf.Tensor, feature_ndims: int, example_ndims: int) -> tf.Tensor:
        del feature_ndims, example_ndims
        # Not `tf.matmul`: TensorFlow 2.21 writes past the end of a product of `[B, 1, n, K]` and a matrix on CPUs with
        # AVX-512.
        return tf.reduce_sum(poses * tf.range(self.num_slices, dtype=poses.dtype), -1, keepdims=True)


@tfp.experimental.auto_composite_tensor
class _Features(tfp.experimental.AutoCompositeTensor):
    """A callable, for `FeatureTransformed`, from poses `[..., P]` to features `[..., F]`."""

    def __init__(self, features: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self.features = features

    def __call__(self, poses: tf.Tensor, feature_ndims: int, example_ndims: int) -> tf.Tensor:
        del feature_ndims, example_ndims
        return self.features(poses)


def pose_kernel(
    length_scale: TensorLike, features: Callable[[tf.Tensor], tf.Tensor], family: str = 'exponential'
) -> psd_kernels.FeatureTransformed:
    """Returns a kernel between poses `[P]` that falls off with the distance of their features.

    Args:
        length_scale: Scalar, or `[G]` for G groups of dimensions.
        features: Callable from poses `[..., P]` to features `[..., F]`, for example `tfp_bruno.networks.Landmarks`,
            whose distance is that of slices. Kernels whose callables are equal cause no new trace.
        family: Name of a kernel in `SLICE_KERNELS`, see `slice_kernel`.
    """
    return psd_kernels.FeatureTransformed(SLICE_KERNELS[family](length_scale=length_scale), _Features(features))


def slice_kernel(
    length_scale: TensorLike, num_slices: int, family: str = 'exponential'
) -> psd_kernels.FeatureTransformed:
    """Returns a kernel between one-hot poses `[K]` that falls off with their distance, counted in slices.

    Args:
        length_scale: Scalar, or `[G]` for G groups of dimensions.
        num_slices: K.
        family: Name of a kernel in `SLICE_KERNELS`: 'exponential', which is `exp(-distance / length_scale)`,
            'matern_three_halves', or 'squared_exponential', which is `exp(-(distance / length_scale)^2 / 2)`.
    """
    return psd_kernels.FeatureTransformed(SLICE_KERNELS[family](length_scale=length_scale), _Positions(num_slices))
