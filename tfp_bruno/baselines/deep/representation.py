"""The representation networks of a Generative Query Network: from a context slice and its pose to features."""

import tensorflow as tf

from tfp_bruno.baselines.deep.layers import Convolution, Dense, PatchConvolution

# The initialiser of layers that precede a rectifier.
_RELU = 'he_uniform'


class Tower(tf.Module):
    """Two residual blocks, with the pose appended between them; the features have a quarter of the image's grid.

    #### References

    [1]: S. M. Ali Eslami et al. Neural scene representation and rendering. Science 360, 2018, supplement, figure S1.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], pose_size: int, channels: int, name: str | None = None
    ) -> None:
        """Creates the weights.

        Args:
            image_shape: `(H, W, C)`, with H and W multiples of 4.
            pose_size: Size of a pose vector.
            channels: Number of features, even (256 in the paper).
            name: Name of the module.
        """
        super().__init__(name=name)
        height, width, image_channels = image_shape
        self.shape = (height // 4, width // 4, channels)
        self.first = PatchConvolution(image_channels, channels, 2, _RELU)
        self.skip_1 = PatchConvolution(channels, channels, 2, _RELU)
        self.wide_1 = Convolution(channels, channels // 2, 3, initializer=_RELU)
        self.down_1 = PatchConvolution(channels // 2, channels, 2, _RELU)
        self.skip_2 = Convolution(channels + pose_size, channels, 3, initializer=_RELU)
        self.wide_2 = Convolution(channels + pose_size, channels // 2, 3, initializer=_RELU)
        self.last_2 = Convolution(channels // 2, channels, 3, initializer=_RELU)
        self.last = Dense(channels, channels, _RELU)

    def __call__(self, images: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Maps images `[N, H, W, C]` and poses `[N, P]` to features `[N, H / 4, W / 4, channels]`, not negative."""
        hidden = tf.nn.relu(self.first(images))
        inner = tf.nn.relu(self.wide_1(hidden))
        hidden = tf.nn.relu(self.down_1(inner)) + tf.nn.relu(self.skip_1(hidden))
        hidden = _with_pose(hidden, poses)
        inner = tf.nn.relu(self.wide_2(hidden))
        hidden = tf.nn.relu(self.last_2(inner)) + tf.nn.relu(self.skip_2(hidden))
        return tf.nn.relu(self.last(hidden))


class Pool(Tower):
    """The tower, its features averaged over the grid."""

    def __init__(
        self, image_shape: tuple[int, int, int], pose_size: int, channels: int, name: str | None = None
    ) -> None:
        """Creates the weights; the arguments are those of `Tower`."""
        super().__init__(image_shape, pose_size, channels, name)
        self.shape = (1, 1, channels)

    def __call__(self, images: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Maps images `[N, H, W, C]` and poses `[N, P]` to features `[N, 1, 1, channels]`."""
        return tf.reduce_mean(super().__call__(images, poses), [1, 2], keepdims=True)


class Pyramid(tf.Module):
    """Four convolutions, the last over the whole remaining grid; the pose is appended to every pixel of the image."""

    def __init__(
        self, image_shape: tuple[int, int, int], pose_size: int, channels: int, name: str | None = None
    ) -> None:
        """Creates the weights; the arguments are those of `Tower`, with H = W and `channels` multiples of 8."""
        super().__init__(name=name)
        height, _, image_channels = image_shape
        self.shape = (1, 1, channels)
        sizes = [image_channels + pose_size, channels // 8, channels // 4, channels // 2, channels]
        strides = (2, 2, 2, height // 8)
        self.layers = [PatchConvolution(*each, _RELU) for each in zip(sizes[:-1], sizes[1:], strides, strict=True)]

    def __call__(self, images: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
        """Maps images `[N, H, W, C]` and poses `[N, P]` to features `[N, 1, 1, channels]`."""
        hidden = _with_pose(images, poses)
        for layer in self.layers:
            hidden = tf.nn.relu(layer(hidden))
        return hidden


def _with_pose(value: tf.Tensor, poses: tf.Tensor) -> tf.Tensor:
    """Appends the pose to the channels of every pixel."""
    grid = tf.broadcast_to(poses[:, None, None], [tf.shape(value)[0], *value.shape[1:3], poses.shape[-1]])
    return tf.concat([value, grid], -1)


REPRESENTATIONS: dict[str, type[Tower] | type[Pyramid]] = {'tower': Tower, 'pool': Pool, 'pyramid': Pyramid}
