"""The tf.data pipeline: sequences of (image, pose) pairs of one subject."""

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import add_level_noise, to_level_middle
from tfp_bruno.training.augmentation import augment_slices

__all__ = ['dequantise', 'make_sequences', 'with_plain_batches']


def dequantise(images, seed=None):
    """Spreads intensities over the width of one of 256 grey levels.

    Args:
        images: float32 `Tensor` in [0, 1].
        seed: int32 `Tensor` `[2]` for uniform noise; `None` puts every image at the middle of its level.

    Returns:
        `Tensor` of the same shape in [0, 1].
    """
    if seed is None:
        return to_level_middle(images)
    return add_level_noise(images, tf.random.stateless_uniform(tf.shape(images), seed))


def make_sequences(images, sequence_length, batch_size, spacing, augmentation, seed, common_slices=False):
    """Draws endless batches of sequences; each sequence is M slices of one subject at distinct random positions.

    Args:
        images: float32 array `[S, K, H, W]` in [0, 1]; one that is memory-mapped is read subject by subject.
        sequence_length: `int`, M.
        batch_size: `int`, number of sequences in a batch.
        spacing: Three floats, distance between voxels along (K, H, W), mm.
        augmentation: `AugmentationSettings`.
        seed: `int`. The same seed gives the same sequences.
        common_slices: Whether all sequences of a batch are drawn at the same positions.

    Returns:
        A `tf.data.Dataset` of pairs: float32 images `[batch_size, M, H, W, 1]` and float32 one-hot poses
        `[batch_size, M, K]`.
    """
    num_subjects, num_slices = images.shape[:2]
    read = _reader(images)

    @tf.autograph.experimental.do_not_convert
    def draw(index, random):
        seeds = tf.unstack(tf.random.split(tf.cast(random, tf.int32), 5))
        if common_slices:
            seeds[1] = tf.cast([seed, index // batch_size], tf.int32)
        subject = tf.random.stateless_uniform([], seeds[0], maxval=num_subjects, dtype=tf.int32)
        order = tf.argsort(tf.random.stateless_uniform([num_slices], seeds[1]))
        slices = tf.ensure_shape(order[:sequence_length], [sequence_length])
        volume = read(subject)
        if augmentation.probability > 0:
            drawn = tf.cond(
                tf.random.stateless_uniform([], seeds[2]) < augmentation.probability,
                lambda: augment_slices(volume, slices, spacing, augmentation, seeds[3]),
                lambda: tf.gather(volume, slices),
            )
        else:
            drawn = tf.gather(volume, slices)
        drawn = tf.ensure_shape(drawn, [sequence_length, *images.shape[2:]])
        return dequantise(drawn, seeds[4])[..., None], tf.one_hot(slices, num_slices)

    sequences = tf.data.Dataset.random(seed=seed).batch(2, drop_remainder=True)
    sequences = sequences.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return sequences.batch(batch_size, drop_remainder=True).prefetch(4)


def with_plain_batches(augmented, plain, every, step):
    """Returns batches of augmented volumes, but for those of every so many steps: these are of volumes as they are.

    Args:
        augmented: `tf.data.Dataset` of batches.
        plain: Another one.
        every: `int`, above 0.
        step: `int`, number of the first batch's step: those of multiples of `every` are plain.
    """
    choice = tf.data.Dataset.counter(step).map(lambda number: tf.cast(number % every == 0, tf.int64))
    return tf.data.Dataset.choose_from_datasets([augmented, plain], choice)


def _reader(images):
    """Returns a function of a subject's index that gives its volume, `[K, H, W]`."""
    if not isinstance(images, np.memmap):
        volumes = tf.convert_to_tensor(images)
        return lambda subject: volumes[subject]

    def read(subject):
        volume = tf.numpy_function(lambda index: np.array(images[index]), [subject], tf.float32, stateful=False)
        return tf.ensure_shape(volume, images.shape[1:])

    return read
