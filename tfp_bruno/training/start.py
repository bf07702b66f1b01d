"""The closed-form start of a training: the volumes it is fitted to, and its cache on disk."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfp_bruno.data.encoding import add_level_noise
from tfp_bruno.models import ModelSettings
from tfp_bruno.runs import AugmentationSettings, TrainingSettings
from tfp_bruno.training.augmentation import augment_slices

_AUGMENTED_AT_ONCE = 8
_OF_TRAINING = ('start', 'start_volumes', 'augmentation', 'seed', 'sequence_length')
# To be raised whenever the closed form, or the volumes it is fitted to, change.
_FORMAT = 4
_KEPT = 3


def starting_volumes(
    images: np.ndarray, count: int, spacing: Sequence[float], augmentation: AugmentationSettings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the training volumes, and augmented copies of them until there are enough.

    Few subjects span few shapes. The copies are augmented as volumes are in training.

    Args:
        images: float32 `[S, K, H, W]` in [0, 1].
        count: Number of volumes wanted. If there are more subjects, a part of them is taken at equal steps. 0: the
            subjects as they are.
        spacing: Distance between voxels along (K, H, W), mm.
        augmentation: Strengths of the augmentation; its probability is ignored.
        seed: Seed of noise and augmentation.

    Returns:
        volumes: `[N, K, H, W, 1]` in [0, 1], with uniform noise within a grey level, as in training: without it, flat
            background would have no variance at all. float32, or float16 where there are copies, of which thousands
            would not fit in memory.
        subjects: Integers `[N]`, the subject of each volume, counted from 0 among those taken.
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
    def augment(index: tf.Tensor) -> tf.Tensor:
        seeds = tf.stack([tf.constant(seed, tf.int32), tf.cast(index, tf.int32)])
        return augment_slices(stacks[index % num_subjects], slices, spacing, augmentation, seeds)

    augmented = (
        tf.data.Dataset.range(copies).map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(_AUGMENTED_AT_ONCE)
    )
    for volume, copy in zip(volumes[num_subjects:], augmented.as_numpy_iterator(), strict=True):
        volume[...] = add_level_noise(copy, rng.random(copy.shape, np.float32))
    return volumes[..., np.newaxis], subjects


def settings_of_start(model_settings: ModelSettings, training: TrainingSettings) -> list[dict[str, Any]]:
    """Returns the settings that the start depends on, as values that JSON can hold."""
    # The start depends neither on how samples are drawn nor on how often training augments.
    model = dataclasses.asdict(model_settings)
    model = {name: value for name, value in model.items() if name not in model_settings.sampling}
    values = dataclasses.asdict(training)
    parts = {name: values[name] for name in _OF_TRAINING}
    del parts['augmentation']['probability']
    return [model, parts]


@dataclasses.dataclass(frozen=True)
class StartCache:
    """A cache of started models: the closed form takes minutes, which a second run on the same data saves.

    The most recently used starts are kept. A folder that cannot be written causes a warning only.

    Attributes:
        folder: The cache folder.
    """

    folder: pathlib.Path

    def key(self, images: np.ndarray, settings: Any) -> str:
        """Returns the key of a start.

        Args:
            images: The training subjects.
            settings: All else that it depends on, values that JSON can hold.
        """
        content = hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=20)
        content.update(json.dumps([_FORMAT, settings], sort_keys=True).encode())
        return content.hexdigest()

    def read(self, key: str, variables: Sequence[tf.Variable]) -> bool:
        """Assigns the values stored under a key to variables; returns whether there were any that fit."""
        checkpoint = tf.train.Checkpoint(variables=list(variables))
        path = self.folder / key
        with contextlib.suppress(tf.errors.OpError, AssertionError, ValueError, IndexError, OSError):
            checkpoint.read(str(path / 'start')).assert_consumed()
            # The least recently used is removed first.
            path.touch()
            return True
        return False

    def write(self, key: str, variables: Sequence[tf.Variable]) -> None:
        """Stores the values of variables under a key."""
        try:
            (self.folder / key).mkdir(parents=True, exist_ok=True)
            # TensorFlow writes a checkpoint under temporary names and renames it.
            tf.train.Checkpoint(variables=list(variables)).write(str(self.folder / key / 'start'))
            kept = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in kept[:-_KEPT]:
                shutil.rmtree(path)
        except (tf.errors.OpError, OSError) as error:
            logging.warning('The start of the training is not cached: %.100s', str(error).splitlines()[0])
