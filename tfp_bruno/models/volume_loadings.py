"""Loadings of a factor process as a canonical volume, sampled where the pixels of a slice lie."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike

from tfp_bruno.bijectors.cosine_transform import transform_images
from tfp_bruno.networks import Grid, sample_volume


@tfp.experimental.auto_composite_tensor(omit_kwargs=('name',))
class VolumeLoadings(tf.Module, tfp.experimental.AutoCompositeTensor):
    """A callable from poses `[..., n, P]` to the loadings `[..., n, D, q]` of a factor process.

    They are the values of a volume `[K, H, W, q]` at the grids of the poses, in the order of the pixels, or the cosine
    transforms of these; D = H W. No gradient flows into the volume; it does to the poses.
    """

    def __init__(
        self, volume: tf.Variable | tf.Tensor, grid: Grid, frequencies: bool = False, name: str | None = None
    ) -> None:
        """Stores the volume.

        Args:
            volume: `[K, H, W, q]`, of which each plane has the size of the grid's images.
            grid: Grid of the poses.
            frequencies: Whether the loadings are cosine transforms of the values, as for a flow of
                `latents='frequencies'`.
            name: Name of the module.

        Raises:
            ValueError: If the volume has another shape.
        """
        super().__init__(name=name)
        self.volume = volume if isinstance(volume, tf.Variable) else tf.convert_to_tensor(volume)
        self.grid = grid
        self.frequencies = frequencies
        if self.volume.shape.rank != 4 or tuple(self.volume.shape[1:3]) != tuple(grid.image_size):
            raise ValueError(
                f'`volume` has shape {self.volume.shape}, but `grid` is that of images of {list(grid.image_size)} '
                'pixels; give [K, H, W, q] of the same size.'
            )

    @property
    def shape(self) -> tf.TensorShape:
        """Shape `[K, D, q]` of the loadings at the K planes of the volume."""
        depth, height, width, factors = self.volume.shape
        return tf.TensorShape([depth, height * width, factors])

    def assign(self, loadings: ArrayLike) -> None:
        """Sets the loadings `[K, D, q]` at the K planes of the volume, which must be a variable."""
        volume = np.reshape(loadings, self.volume.shape)
        if self.frequencies:
            # Plane by plane: TensorFlow keeps the memory of what is large for good.
            volume = np.stack([transform_images(tf.convert_to_tensor(plane), inverse=True) for plane in volume])
        self.volume.assign(volume)

    def __call__(self, poses: tf.Tensor) -> tf.Tensor:
        """Returns the loadings `[..., n, D, q]` at poses `[..., n, P]`."""
        sampled = sample_volume(self.volume, self.grid(poses), is_fixed=True)
        if self.frequencies:
            sampled = transform_images(sampled)
        shape = tf.concat([tf.shape(sampled)[:-3], self.shape[1:]], 0)
        return tf.ensure_shape(tf.reshape(sampled, shape), [*sampled.shape[:-3], *self.shape[1:]])

    def product(self, poses: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
        """Returns the product of the loadings at poses `[n, P]` with factors `[..., q]`: `[..., n, D]`.

        The volume is multiplied before it is sampled, which takes a fraction of the time of the loadings of many poses.
        """
        grid, rank = self.grid(poses), self.volume.shape[-1]
        volume = tf.reshape(tf.stop_gradient(tf.convert_to_tensor(self.volume)), [-1, rank])
        # One pass over the volume, which is large, for all factors.
        combined = tf.matmul(tf.reshape(factors, [-1, rank]), volume, transpose_b=True)

        def sample(values: tf.Tensor) -> tf.Tensor:
            image = sample_volume(tf.reshape(values, [*self.volume.shape[:-1], 1]), grid)
            return transform_images(image) if self.frequencies else image

        # One after the other, in the memory of one.
        images = tf.map_fn(sample, combined, parallel_iterations=1)
        return tf.reshape(images, tf.concat([tf.shape(factors)[:-1], tf.shape(poses)[:1], self.shape[1:2]], 0))
