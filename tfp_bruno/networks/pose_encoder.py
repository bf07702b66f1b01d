"""From a pose to the features that every coupling is conditioned on."""

import math

import numpy as np
import tensorflow as tf
import tf_keras

__all__ = ['DensePoseEncoder', 'FourierPoseEncoder', 'OneHotPoseEncoder', 'VectorPoseEncoder', 'linear_features']


class _Encoder(tf_keras.layers.Layer):
    """A layer that knows how many features it gives."""

    def __init__(self, units, **kwargs):
        """Constructs the layer.

        Args:
            units: `int`, number of features.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = units


class _TwoLayerEncoder(_Encoder):
    """Two dense layers on the linear features of a pose."""

    def build(self, input_shape):
        """Creates the weights for poses of shape `[N, P]`."""
        size = self.features(tf.zeros([1, input_shape[-1]], self.compute_dtype)).shape[-1]
        self.kernel_in = self.add_weight(
            'kernel_in', [size, self.units], initializer=tf_keras.initializers.RandomNormal(stddev=1.0)
        )
        self.kernel_out = self.add_weight('kernel_out', [self.units, self.units], initializer='glorot_normal')
        self.bias = self.add_weight('bias', [self.units], initializer='zeros')
        super().build(input_shape)

    def features(self, pose):
        """Returns what linear functions of a pose `[N, P]` are linear in, `[N, F]`: here, the pose itself."""
        return pose

    def spread(self, features):
        """Returns what the first layer takes of the features `[N, F]`: here, the features themselves."""
        return features

    def call(self, pose):
        """Maps poses `[N, P]` to features `[N, units]`."""
        spread = self.spread(self.features(pose))
        return tf.nn.elu(tf.nn.elu(spread @ self.kernel_in) @ self.kernel_out + self.bias)


class OneHotPoseEncoder(_TwoLayerEncoder):
    """Encodes one-hot poses `[N, K]`, the number of a slice among K.

    #### Mathematical Details

    ```none
    first layer(k) = sum over j of w_jk kernel_in[j],   w_jk ~ exp(-(j - k)^2 / (2 width^2)),   sum over j of w_jk^2 = 1
    ```

    At a width of 0 each slice has weights of its own. Above, slices share what they learn with their neighbours, and
    start alike.
    """

    def __init__(self, units, width=0.0, **kwargs):
        """Constructs the layer.

        Args:
            units: `int`, number of features.
            width: `float`, slices, standard deviation of the weights of neighbours. Default value: `0.`.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(units, **kwargs)
        self.width = width

    def spread(self, features):
        """Returns one-hot poses `[N, K]` with their neighbours' weights."""
        if not self.width:
            return features
        slices = np.arange(features.shape[-1])
        weights = np.exp(-0.5 * ((slices[:, None] - slices) / self.width) ** 2)
        return features @ tf.constant(weights / np.linalg.norm(weights, axis=-1, keepdims=True), features.dtype)


class VectorPoseEncoder(_TwoLayerEncoder):
    """Encodes a general vector `[N, P]`, for example a rigid pose; its components should be of order one."""

    def features(self, pose):
        """Returns the pose beside a constant, `[N, 1 + P]`."""
        return tf.concat([tf.ones_like(pose[..., :1]), pose], -1)


class FourierPoseEncoder(_TwoLayerEncoder):
    """Encodes positions `[N, P]` in [0, 1] through sines and cosines of growing frequency.

    #### Mathematical Details

    ```none
    features(v) = (1, sin(pi 2^j v), cos(pi 2^j v)),   j = 0 ... num_frequencies - 1, for each of the P positions
    ```

    Unlike one-hot poses, it knows that neighbouring positions are alike, and takes positions between slices.

    #### References

    [1]: Matthew Tancik et al. Fourier features let networks learn high frequency functions in low dimensional domains.
    NeurIPS 2020.
    """

    def __init__(self, units, num_frequencies=5, **kwargs):
        """Constructs the layer.

        Args:
            units: `int`, number of features.
            num_frequencies: `int`; the finest wave has a length of `2 ** (2 - num_frequencies)`. Default value: `5`.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(units, **kwargs)
        self.num_frequencies = num_frequencies

    def features(self, pose):
        """Returns the waves, `[N, 1 + 2 P num_frequencies]`."""
        phases = tf.concat([math.pi * 2.0**index * pose for index in range(self.num_frequencies)], -1)
        return tf.concat([tf.ones_like(pose[..., :1]), tf.sin(phases), tf.cos(phases)], -1)


class DensePoseEncoder(_Encoder):
    """One dense layer with a leaky rectifier, as in the official code of Conditional BRUNO."""

    def build(self, input_shape):
        """Creates the weights for poses of shape `[N, P]`."""
        self.kernel = self.add_weight('kernel', [input_shape[-1], self.units], initializer='orthogonal')
        self.bias = self.add_weight('bias', [self.units], initializer='zeros')
        super().build(input_shape)

    def call(self, pose):
        """Maps poses `[N, P]` to features `[N, units]`."""
        return tf.nn.leaky_relu(pose @ self.kernel + self.bias)


def linear_features(encoder, pose):
    """Returns what the affine start of a flow is linear in: the encoder's `features`, or the pose and a constant.

    Args:
        encoder: Pose encoder, any callable.
        pose: `Tensor` of shape `[N, P]`.

    Returns:
        `Tensor` of shape `[N, F]`.
    """
    if hasattr(encoder, 'features'):
        return encoder.features(pose)
    return tf.concat([tf.ones_like(pose[..., :1]), pose], -1)
