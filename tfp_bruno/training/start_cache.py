"""What a model starts from, on disk: the closed form takes minutes, which the next run from the same data spares."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil

import numpy as np
import tensorflow as tf
from absl import logging

__all__ = ['StartCache']

# To be raised whenever the closed form, or what it is taken from, changes.
_FORMAT = 4
_KEPT = 3


@dataclasses.dataclass(frozen=True)
class StartCache:
    """A folder of started models, the newest few of which are kept.

    Attributes:
        folder: The cache folder; a cache that cannot be written is only a warning.
    """

    folder: pathlib.Path

    def key(self, images, settings):
        """Returns the key of a start.

        Args:
            images: float32 array, the training subjects.
            settings: All else that it depends on, values that JSON can hold.
        """
        content = hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=20)
        content.update(json.dumps([_FORMAT, settings], sort_keys=True).encode())
        return content.hexdigest()

    def read(self, key, variables):
        """Assigns the values that were kept under a key to variables; returns whether there were any that fit."""
        checkpoint = tf.train.Checkpoint(variables=list(variables))
        path = self.folder / key
        with contextlib.suppress(tf.errors.OpError, AssertionError, ValueError, IndexError, OSError):
            checkpoint.read(str(path / 'start')).assert_consumed()
            # The least recently used goes first.
            path.touch()
            return True
        return False

    def write(self, key, variables):
        """Keeps the values of variables under a key."""
        try:
            (self.folder / key).mkdir(parents=True, exist_ok=True)
            # TensorFlow writes a checkpoint under temporary names and renames it.
            tf.train.Checkpoint(variables=list(variables)).write(str(self.folder / key / 'start'))
            kept = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in kept[:-_KEPT]:
                shutil.rmtree(path)
        except (tf.errors.OpError, OSError) as error:
            logging.warning('The start of the training is not cached: %.100s', str(error).splitlines()[0])
