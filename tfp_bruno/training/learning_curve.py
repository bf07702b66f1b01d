"""The loss on held-out subjects, on the same slices every time."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from tfp_bruno.data.atomic import write_text
from tfp_bruno.runs import AugmentationSettings
from tfp_bruno.training.sequences import make_sequences
from tfp_bruno.training.tasks import make_task

__all__ = ['HeldOut', 'LearningCurve']

_BATCHES = 6
_SEED = 12345


class HeldOut:
    """A few fixed batches of held-out subjects, without augmentation; it only watches, nothing is selected by it."""

    def __init__(self, images, settings, spacing):
        """Draws the batches.

        Args:
            images: float32 array `[S, K, H, W]` in [0, 1].
            settings: `TrainingSettings`.
            spacing: Three floats, distance between voxels along (K, H, W), mm.
        """
        self._sequences = make_sequences(
            images, settings.sequence_length, settings.batch_size, spacing, AugmentationSettings(), _SEED
        )
        self._task = make_task(settings)
        self._batches: list = []
        self._measure = None

    def measure(self, model):
        """Returns the parts of the training loss of a model, averaged over the batches, with four contexts."""
        if self._measure is None:
            # Only now, so that the first step of the training need not wait.
            self._batches = list(self._sequences.take(_BATCHES))
            self._measure = tf.function(lambda x, poses: self._task.held_out(model, x, poses), autograph=False)
        measured = [self._measure(images, poses) for images, poses in self._batches]
        return {name: float(np.mean([part[name] for part in measured])) for name in measured[0]}


class LearningCurve:
    """The points of a training, one line of JSON each."""

    def __init__(self, path: pathlib.Path) -> None:
        """Takes the path of the file, which need not exist."""
        self._path = path

    def points(self) -> list[dict[str, float]]:
        """Returns all points; a line that was cut short counts as the end."""
        found = []
        lines = self._path.read_text(encoding='utf-8').splitlines() if self._path.exists() else []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def last_step(self) -> int:
        """Returns the step of the last point; 0 without one."""
        points = self.points()
        return int(points[-1]['step']) if points else 0

    def append(self, point: dict[str, float]) -> None:
        """Adds a point."""
        self._write([*self.points(), point])

    def cut(self, step: int) -> None:
        """Removes the points after a step: a resumed training makes them again."""
        points = self.points()
        kept = [point for point in points if point['step'] <= step]
        if len(kept) < len(points):
            self._write(kept)

    def _write(self, points: list[dict[str, float]]) -> None:
        write_text(self._path, ''.join(json.dumps(point) + '\n' for point in points))
