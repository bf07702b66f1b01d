"""The volumes that a model starts from: the training subjects, and augmented copies of them."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import add_level_noise
from tfp_bruno.training.augmentation import augment_slices

__all__ = ['settings_of_start', 'starting_volumes']

_AUGMENTED_AT_ONCE = 8
_OF_TRAINING = ('start', 'start_volumes', 'augmentation', 'seed', 'sequence_length')


def starting_volumes(images, count, spacing, augmentation, seed):
    """Returns the training volumes, and augmented copies of them until there are enough.

    Few subjects span few shapes. What a copy is augmented by is what the model meets in training, too.

    Args:
        images: float32 array `[S, K, H, W]` in [0, 1].
        count: Integer, the number of volumes wanted: of more subjects than that, every so many are taken. 0 for the
            subjects as they are.
        spacing: Three floats, distance between voxels along (K, H, W), mm.
        augmentation: `AugmentationSettings`; its probability does not matter.
        seed: Integer.

    Returns:
        volumes: Array `[N, K, H, W, 1]` in [0, 1], spread over the width of a grey level, as in training: without that
            noise, flat background would have no variance at all. float32, or float16 where there are copies, of which
            thousands would not fit in memory.
        subjects: Integers `[N]`, the subject that each volume is of, counted from 0 among those taken.
    """
    if 0 < count < len(images):
        images = images[np.linspace(0, len(images) - 1, count).round().astype(int)]
    num_subjects = len(images)
    copies = max(0, count - num_subjects)
    subjects = np.concatenate([np.arange(num_subjects), np.arange(copies) % num_subjects])
    volumes = np.empty([len(subjects), *images.shape[1:]], np.float16 if copies else np.float32)
    rng = np.random.default_rng(seed)
    for volume, image in zip(volumes, images, strict=False):
        volume[...] = add_level_noise(image, rng.random(image.shape, np.float32))
    stacks, slices = tf.convert_to_tensor(images), tf.range(images.shape[1])

    @tf.autograph.experimental.do_not_convert
    def augment(index):
        seeds = tf.stack([tf.constant(seed, tf.int32), tf.cast(index, tf.int32)])
        return augment_slices(stacks[index % num_subjects], slices, spacing, augmentation, seeds)

    augmented = (
        tf.data.Dataset.range(copies).map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(_AUGMENTED_AT_ONCE)
    )
    for volume, copy in zip(volumes[num_subjects:], augmented.as_numpy_iterator(), strict=True):
        volume[...] = add_level_noise(copy, rng.random(copy.shape, np.float32))
    return volumes[..., np.newaxis], subjects


def settings_of_start(model_settings, training):
    """Returns what the start depends on beside the images, as values that JSON can hold.

    Args:
        model_settings: `ModelSettings`.
        training: `TrainingSettings`.
    """
    # How samples are drawn changes nothing of it, nor does how often training augments.
    model = dataclasses.asdict(model_settings)
    model = {name: value for name, value in model.items() if name not in model_settings.sampling}
    values = dataclasses.asdict(training)
    parts = {name: values[name] for name in _OF_TRAINING}
    del parts['augmentation']['probability']
    return [model, parts]
