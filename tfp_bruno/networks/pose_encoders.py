"""Encoders of poses: from a pose to the features that every coupling is conditioned on."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfp_bruno.networks.grids import Grid


class _Encoder(tf_keras.layers.Layer):
    """A layer from poses to a number of features."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        """Constructs the layer.

        Args:
            units: Number of features.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units


class _TwoLayerEncoder(_Encoder):
    """Two dense layers on the linear features of a pose."""

    def build(self, input_shape: Any) -> None:
        """Creates the weights for poses of shape `[N, P]`."""
        size = self.features(tf.zeros([1, input_shape[-1]], self.compute_dtype)).shape[-1]
        self.kernel_in = self.add_weight(
            'kernel_in', [size, self.units], initializer=tf_keras.initializers.RandomNormal(stddev=1.0)
        )
        self.kernel_out = self.add_weight('kernel_out', [self.units, self.units], initializer='glorot_normal')
        self.bias = self.add_weight('bias', [self.units], initializer='zeros')
        super().build(input_shape)

    def features(self, pose: tf.Tensor) -> tf.Tensor:
        """Returns the features `[N, F]` of poses `[N, P]` that a flow's affine map is linear in: the pose itself."""
        return pose

    def first_input(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the input of the first layer, from the features `[N, F]`: the features themselves."""
        return features

    def call(self, pose: tf.Tensor) -> tf.Tensor:
        """Maps poses `[N, P]` to features `[N, units]`."""
        first_input = self.first_input(self.features(pose))
        return tf.nn.elu(tf.nn.elu(first_input @ self.kernel_in) @ self.kernel_out + self.bias)


class OneHotPoseEncoder(_TwoLayerEncoder):
    """Encodes one-hot poses `[N, K]`, the number of a slice among K.

    #### Mathematical Details

    ```none
    first layer(k) = sum over j of w_jk kernel_in[j],   w_jk ~ exp(-(j - k)^2 / (2 width^2)),   sum over j of w_jk^2 = 1
    ```

    At a width of 0 each slice has weights of its own. At larger widths neighbouring slices share weights, and start
    with similar encodings.
    """

    def __init__(self, units: int, width: float = 0.0, **kwargs: Any) -> None:
        """Constructs the layer.

        Args:
            units: Number of features.
            width: Standard deviation, in slices, of the weights of neighbours.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(units, **kwargs)
        self.width = width

    def first_input(self, features: tf.Tensor) -> tf.Tensor:
        """Returns one-hot poses `[N, K]`, smoothed over the neighbours."""
        if not self.width:
            return features
        slices = np.arange(features.shape[-1])
        weights = np.exp(-0.5 * ((slices[:, None] - slices) / self.width) ** 2)
        return features @ tf.constant(weights / np.linalg.norm(weights, axis=-1, keepdims=True), features.dtype)


class PlacePoseEncoder(OneHotPoseEncoder):
    """Encodes poses `[N, P]` of slices that lie anywhere in a canonical volume of K planes.

    #### Mathematical Details

    ```none
    features_j(v) = mean over the slice's corners and centre, at depth d, of max(0, 1 - |d - j|),   j = 0 ... K - 1
    ```

    followed by the network of `OneHotPoseEncoder`, which it equals where the slice is a plane of the volume. Depths
    outside the volume count as those of its first or last plane.
    """

    def __init__(self, units: int, grid: Grid, num_slices: int, width: float = 0.0, **kwargs: Any) -> None:
        """Constructs the layer.

        Args:
            units: Number of features.
            grid: Grid of the poses.
            num_slices: K.
            width: Standard deviation, in slices, of the weights of neighbours.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(units, width, **kwargs)
        self.grid = grid
        self.num_slices = num_slices

    def features(self, pose: tf.Tensor) -> tf.Tensor:
        """Returns the weights `[N, K]` of the planes at poses `[N, P]`."""
        depth = tf.clip_by_value(self.grid.landmarks(pose)[..., 0], 0.0, self.num_slices - 1.0)
        distance = tf.abs(depth[..., tf.newaxis] - tf.range(self.num_slices, dtype=depth.dtype))
        return tf.reduce_mean(tf.maximum(1.0 - distance, 0.0), axis=-2)


class VectorPoseEncoder(_TwoLayerEncoder):
    """Encodes a general vector `[N, P]`, for example a rigid pose; its components should be of order one."""

    def features(self, pose: tf.Tensor) -> tf.Tensor:
        """Returns a constant and the pose, `[N, 1 + P]`."""
        return _with_constant(pose)


class FourierPoseEncoder(_TwoLayerEncoder):
    """Encodes positions `[N, P]` in [0, 1] by `fourier_features`.

    Unlike one-hot poses, neighbouring positions have similar encodings, and positions between slices are defined.
    """

    def __init__(self, units: int, num_frequencies: int = 5, **kwargs: Any) -> None:
        """Constructs the layer.

        Args:
            units: Number of features.
            num_frequencies: Number of frequencies; the shortest wavelength is `2 ** (2 - num_frequencies)`.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(units, **kwargs)
        self.num_frequencies = num_frequencies

    def features(self, pose: tf.Tensor) -> tf.Tensor:
        """Returns the Fourier features, `[N, 1 + 2 P num_frequencies]`."""
        return fourier_features(pose, self.num_frequencies)


class DensePoseEncoder(_Encoder):
    """One dense layer with a leaky rectifier, as in the official code of Conditional BRUNO."""

    def build(self, input_shape: Any) -> None:
        """Creates the weights for poses of shape `[N, P]`."""
        self.kernel = self.add_weight('kernel', [input_shape[-1], self.units], initializer='orthogonal')
        self.bias = self.add_weight('bias', [self.units], initializer='zeros')
        super().build(input_shape)

    def call(self, pose: tf.Tensor) -> tf.Tensor:
        """Maps poses `[N, P]` to features `[N, units]`."""
        return tf.nn.leaky_relu(pose @ self.kernel + self.bias)


def fourier_features(positions: tf.Tensor, num_frequencies: int) -> tf.Tensor:
    """Returns a constant, and sines and cosines of increasing frequency.

    #### Mathematical Details

    ```none
    features(v) = (1, sin(pi 2^j v), cos(pi 2^j v)),   j = 0 ... num_frequencies - 1, for each of the P positions
    ```

    #### References

    [1]: Matthew Tancik et al. Fourier features let networks learn high frequency functions in low dimensional domains.
    NeurIPS 2020.

    Args:
        positions: Shape `[N, P]`, in [0, 1].
        num_frequencies: Number of frequencies.

    Returns:
        Shape `[N, 1 + 2 P num_frequencies]`.
    """
    phases = tf.concat([math.pi * 2.0**index * positions for index in range(num_frequencies)], -1)
    return tf.concat([tf.ones_like(positions[..., :1]), tf.sin(phases), tf.cos(phases)], -1)


def linear_features(encoder: Callable[[tf.Tensor], tf.Tensor], pose: tf.Tensor) -> tf.Tensor:
    """Returns the features that a flow's affine map is linear in: the encoder's `features`, or a constant and the pose.

    Args:
        encoder: Pose encoder, any callable.
        pose: Shape `[N, P]`.

    Returns:
        Shape `[N, F]`.
    """
    return encoder.features(pose) if hasattr(encoder, 'features') else _with_constant(pose)


def _with_constant(pose: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.ones_like(pose[..., :1]), pose], -1)
