"""The tf.data pipeline: sequences of (image, pose) pairs of one subject."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import add_level_noise
from tfp_bruno.runs import AugmentationSettings
from tfp_bruno.training.augmentation import augment_slices

WHOLE = (0, 1)


def make_sequences(
    images: np.ndarray,
    sequence_length: int,
    batch_size: int,
    spacing: Sequence[float],
    augmentation: AugmentationSettings,
    seed: int,
    common_slices: bool = False,
    plain_every: int = 0,
    first_step: int = 0,
    share: tuple[int, int] = WHOLE,
) -> tf.data.Dataset:
    """Draws endless batches of sequences; each sequence is M slices of one subject at distinct random positions.

    Intensities have uniform noise within one of 256 grey levels, so that their density is bounded. The batch of a step
    depends on the seed and the step alone, so a resumed training sees the batches of an uninterrupted one.

    Args:
        images: float32 `[S, K, H, W]` in [0, 1]; a memory-mapped array is read subject by subject.
        sequence_length: M.
        batch_size: Number of sequences in a batch.
        spacing: Distance between voxels along (K, H, W), mm.
        augmentation: Strengths and frequency of the augmentation.
        seed: Seed of all sequences.
        common_slices: Whether all sequences of a batch are drawn at the same positions.
        plain_every: Batches of steps that are multiples of it are not augmented; 0 for none.
        first_step: Step of the first batch.
        share: See `draw_batches`.

    Returns:
        Pairs of float32 images `[batch_size, M, H, W, 1]` and float32 one-hot poses `[batch_size, M, K]`.
    """
    num_subjects, num_slices = images.shape[:2]
    read = _reader(images)

    def draw(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        step = index // batch_size
        seeds = tf.unstack(tf.random.split(_seed_of(seed, index), 5))
        if common_slices:
            seeds[1] = _seed_of(seed + 1, step)
        subject = tf.random.stateless_uniform([], seeds[0], maxval=num_subjects, dtype=tf.int32)
        order = tf.argsort(tf.random.stateless_uniform([num_slices], seeds[1]))
        slices = tf.ensure_shape(order[:sequence_length], [sequence_length])
        volume = read(subject)
        if augmentation.probability > 0:
            is_augmented = tf.random.stateless_uniform([], seeds[2]) < augmentation.probability
            if plain_every:
                is_augmented &= step % plain_every != 0
            drawn = tf.cond(
                is_augmented,
                lambda: augment_slices(volume, slices, spacing, augmentation, seeds[3]),
                lambda: tf.gather(volume, slices),
            )
        else:
            drawn = tf.gather(volume, slices)
        drawn = tf.ensure_shape(drawn, [sequence_length, *images.shape[2:]])
        noisy = add_level_noise(drawn, tf.random.stateless_uniform(tf.shape(drawn), seeds[4]))
        return noisy[..., None], tf.one_hot(slices, num_slices)

    return draw_batches(draw, batch_size, first_step, share)


def draw_batches(
    draw: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    batch_size: int,
    first_step: int = 0,
    share: tuple[int, int] = WHOLE,
) -> tf.data.Dataset:
    """Draws endless batches, or one share of each, in order.

    Args:
        draw: From the index of a sequence, an integer scalar, to its images and poses. That of the first sequence of a
            step is the step times `batch_size`.
        batch_size: Number of sequences in a whole batch.
        first_step: Step of the first batch.
        share: Pair `(i, n)`: the i-th of n equal parts of each batch, counted from 0; n divides `batch_size`.

    Returns:
        Batches of `batch_size / n` sequences.
    """
    part, parts = share
    size = batch_size // parts

    @tf.autograph.experimental.do_not_convert
    def draw_number(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return draw(number // size * batch_size + part * size + number % size)

    sequences = tf.data.Dataset.counter(first_step * size)
    sequences = sequences.map(draw_number, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return sequences.batch(size, drop_remainder=True).prefetch(4)


def _seed_of(seed: int, index: tf.Tensor) -> tf.Tensor:
    """Returns the stateless seed of an index."""
    return tf.random.fold_in(tf.constant([seed % 2**31, seed // 2**31 % 2**31], tf.int32), tf.cast(index, tf.int32))


def _reader(images: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function of a subject's index that gives its volume, `[K, H, W]`."""
    if not isinstance(images, np.memmap):
        volumes = tf.convert_to_tensor(images)
        return lambda subject: volumes[subject]

    def read(subject: tf.Tensor) -> tf.Tensor:
        volume = tf.numpy_function(lambda index: np.array(images[index]), [subject], tf.float32, stateful=False)
        return tf.ensure_shape(volume, images.shape[1:])

    return read
