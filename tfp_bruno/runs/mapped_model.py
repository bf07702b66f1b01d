"""A trained `ConditionalBruno` of a canonical volume, which finds the map of each subject from its contexts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.models import ConditionalBruno
from tfp_bruno.registration import FoundMap, MapFinder, SubjectMap
from tfp_bruno.runs.slice_places import slice_poses
from tfp_bruno.runs.trained_model import TrainedModel

__all__ = ['MappedModel']

# Samples are drawn from at most so many maps of the subject, each of which takes a posterior of its own.
_MAPS = 10


class MappedModel(TrainedModel):
    """A trained `ConditionalBruno` whose poses are places in a canonical volume.

    The map of a subject is the mode of its posterior given the contexts. Samples draw maps from a Gaussian about it
    (Laplace approximation), then slices given the map.

    Attributes:
        finder: Finds the map of a subject.
        control_size: Number of control points of a pose along each side of a slice.
        map_temper: Factor of the covariance of the sampled maps.
    """

    def __init__(
        self,
        bruno: ConditionalBruno,
        definition: DatasetDefinition,
        name: str,
        info: RunInfo,
        finder: MapFinder,
        control_size: int,
        sampling: Mapping[str, Any] | None = None,
        temperature: float = 1.0,
    ) -> None:
        """Wraps a model; see `load`."""
        super().__init__(bruno, definition, name, info, sampling, temperature)
        self.finder = finder
        self.control_size = control_size
        self._latest: tuple[bytes, FoundMap] | None = None

    def with_temperature(self, temperature: float) -> 'MappedModel':
        """Returns the same model whose samples deviate from the mean `temperature` times as much."""
        return MappedModel(
            self.bruno,
            self.definition,
            self.name,
            self.info,
            self.finder,
            self.control_size,
            self.sampling,
            temperature,
        )

    def find_map(self, images: np.ndarray, slices: ArrayLike) -> FoundMap:
        """Returns the map of a subject; that of the latest slices is kept.

        Args:
            images: `[n, H, W]` in [0, 1].
            slices: `[n]`, slice numbers.
        """
        images, slices = np.asarray(images, np.float32), np.asarray(slices, int).reshape(-1)
        key = images.tobytes() + slices.tobytes()
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self.finder.find(images, slices)
        return self._latest[1]

    def places(self, subject: SubjectMap, slices: ArrayLike) -> tf.Tensor:
        """Returns the poses `[n, P]` of slices `[n]` of a subject."""
        return tf.constant(slice_poses(self.finder.space, subject, np.asarray(slices).reshape(-1), self.control_size))

    def predict(self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike) -> np.ndarray:
        """Returns the decoded mean of the process at every query slice; arguments as `TrainedModel.predict`."""
        means = []
        for images in context_images:
            subject = self.find_map(images, context_slices).subject
            contexts, _ = self._inputs(images, context_slices)
            poses = self.places(subject, context_slices), self.places(subject, query_slices)
            means.append(self._decoded(self._predict(contexts, *poses)))
        return np.stack(means)

    def sample(
        self,
        context_images: np.ndarray,
        context_slices: ArrayLike,
        query_slices: ArrayLike,
        num_samples: int,
        seed: int,
    ) -> np.ndarray:
        """Draws maps of each subject, and slices given each; arguments as `TrainedModel.sample`."""
        drawn = []
        for number, images in enumerate(context_images):
            found = self.find_map(images, context_slices)
            contexts, _ = self._inputs(images, context_slices)
            counts = [len(part) for part in np.array_split(np.arange(num_samples), min(_MAPS, num_samples))]
            maps = _draw_maps(found, len(counts), np.random.default_rng([seed, number]))
            parts = []
            for index, (count, subject) in enumerate(zip(counts, maps, strict=True)):
                poses = self.places(subject, context_slices), self.places(subject, query_slices)
                stateless = tf.constant([seed % 2**31, number * _MAPS + index], tf.int32)
                parts.append(self._decoded(self._sample(contexts, *poses, tf.constant(count), stateless)))
            drawn.append(np.concatenate(parts))
        return np.stack(drawn, axis=1)

    def log_prob(self, images: np.ndarray, slices: ArrayLike) -> np.ndarray:
        """Returns the joint log-density of slices given the map that is found from them, nats `[S]`."""
        densities = []
        for stack in images:
            poses = self.places(self.find_map(stack, slices).subject, slices)
            densities.append(self._log_prob(tf.constant(stack[..., None], tf.float32), poses))
        return np.array(densities)


def _draw_maps(found: FoundMap, count: int, rng: np.random.Generator) -> list[SubjectMap]:
    """Draws maps of a subject from the Gaussian approximation of their posterior."""
    mode = found.subject.coefficients
    root = np.linalg.cholesky(found.covariance + 1e-9 * np.eye(mode.size))
    noise = rng.normal(size=(count, mode.size))
    return [found.subject._replace(coefficients=mode + (root @ each).reshape(mode.shape)) for each in noise]
