"""A trained `ConditionalBruno` of a canonical volume, which finds the map of each subject from its contexts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.contracts import ALIGNMENTS, RunInfo
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.errors import UserError
from tfp_bruno.models import ConditionalBruno
from tfp_bruno.registration import FoundMap, Frame, Location, MapFinder, SubjectMap, check_location
from tfp_bruno.runs.slice_places import slice_poses
from tfp_bruno.runs.trained_model import TrainedModel

# Samples are drawn from at most so many maps of the subject, each of which takes a posterior of its own.
_MAPS = 10


class MappedModel(TrainedModel):
    """A trained `ConditionalBruno` whose poses are places in a canonical volume.

    The map of a subject is the mode of its posterior given the contexts. Samples draw maps from a Gaussian about it
    (Laplace approximation), then slices given the map. `log_prob` integrates over maps by the same approximation, about
    the map that is found from the slices themselves.

    Attributes:
        finder: Finds the map of a subject.
        control_size: Number of control points of a pose along each side of a slice.
        alignment: What of the map is found, see `contracts.LocatingModel`.
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
        alignment: str = 'deformable',
    ) -> None:
        """Wraps a model; see `load`."""
        super().__init__(bruno, definition, name, info, sampling, temperature)
        self.finder = finder
        self.control_size = control_size
        self.alignment = alignment
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
            self.alignment,
        )

    def with_alignment(self, alignment: str) -> 'MappedModel':
        """Returns the same model with maps of another kind, see `contracts.LocatingModel`."""
        if alignment not in ALIGNMENTS:
            raise UserError(f'`align={alignment}`: is unknown; give one of {", ".join(ALIGNMENTS)}.')
        model = self.with_temperature(self.temperature)
        model.alignment = 'deformable' if alignment == 'auto' else alignment
        return model

    def locate(self, images: np.ndarray, slices: ArrayLike) -> Location:
        """Finds where slices of one subject lie in the canonical volume.

        It warns if the slices do not meet the training data: see `registration.check_location`.

        Args:
            images: `[n, H, W]` in [0, 1].
            slices: `[n]`, slice numbers.

        Returns:
            Size, place and displacement of the anatomy, and the canonical coordinates of pixels, in NumPy.
        """
        location = Location(self.finder.model, self.find_map(images, slices), self.alignment)
        check_location(self.finder, location, np.asarray(images), np.asarray(slices), self.definition.axes)
        return location

    def find_map(self, images: np.ndarray, slices: ArrayLike) -> FoundMap:
        """Returns the map of a subject; that of the latest slices is kept.

        Args:
            images: `[n, H, W]` in [0, 1].
            slices: `[n]`, slice numbers.
        """
        images, slices = np.asarray(images, np.float32), np.asarray(slices, int).reshape(-1)
        key = images.tobytes() + slices.tobytes()
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self.finder.find(images, slices, self.alignment)
        return self._latest[1]

    def log_posterior(self, images: np.ndarray, slices: ArrayLike, coarse: bool = False) -> float:
        """Returns the log-posterior at the map that is found, see `contracts.LocatingModel`."""
        images, slices = np.asarray(images, np.float32), np.asarray(slices, int).reshape(-1)
        if coarse:
            return self.finder.coarse_log_posterior(images, slices)
        # Not kept, since scans are placed in threads.
        return self.finder.find(images, slices, self.alignment).log_posterior

    def places(self, subject: SubjectMap, slices: ArrayLike) -> tf.Tensor:
        """Returns the poses `[n, P]` of slices `[n]` of a subject."""
        slices = np.asarray(slices, float).reshape(-1)
        return tf.constant(slice_poses(self.finder.space, subject, slices, self.control_size))

    def subject_poses(
        self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the places of contexts and queries under the map that is found from the contexts."""
        subject = self.find_map(context_images, context_slices).subject
        return self.places(subject, context_slices), self.places(subject, query_slices)

    def predict(self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike) -> np.ndarray:
        """Returns the decoded mean of the process at every query slice; arguments as `TrainedModel.predict`."""
        means = []
        for images in context_images:
            poses = self.subject_poses(images, context_slices, query_slices)
            means.append(self._decoded(self._predict(self._encoded(images), *poses)))
        return np.stack(means)

    def predict_in_frame(self, frame: Frame | SubjectMap, query_slices: ArrayLike) -> np.ndarray:
        """Returns the decoded mean without contexts `[Q, H, W]` at query slices, given the subject's frame or map."""
        subject = self.finder.space.identity._replace(frame=frame) if isinstance(frame, Frame) else frame
        no_images = np.zeros((0, *self.finder.space.basis.shape[1:]), np.float32)
        poses = self.places(subject, []), self.places(subject, query_slices)
        return self._decoded(self._predict(self._encoded(no_images), *poses))

    def sample(
        self,
        context_images: np.ndarray,
        context_slices: ArrayLike,
        query_slices: ArrayLike,
        num_samples: int,
        seed: int,
    ) -> np.ndarray:
        """Draws maps of each subject, and slices given each; arguments as `TrainedModel.sample`."""
        # As even as possible, of at least one sample each; the map of alignment 'none' is certain.
        num_maps = 1 if self.alignment == 'none' else _MAPS
        counts = [len(part) for part in np.array_split(np.arange(num_samples), num_maps) if len(part)]
        drawn = []
        for number, images in enumerate(context_images):
            found = self.find_map(images, context_slices)
            maps = _draw_maps(found, len(counts), self.temperature, np.random.default_rng([seed, number]))
            parts = []
            for index, (count, subject) in enumerate(zip(counts, maps, strict=True)):
                poses = self.places(subject, context_slices), self.places(subject, query_slices)
                stateless = tf.constant([seed % 2**31, number * _MAPS + index], tf.int32)
                images_of_map = self._sample(self._encoded(images), *poses, tf.constant(count), stateless)
                parts.append(self._decoded(images_of_map))
            drawn.append(np.concatenate(parts))
        return np.stack(drawn, axis=1)

    def log_prob(self, images: np.ndarray, slices: ArrayLike) -> np.ndarray:
        """Returns the joint log-density of slices, the map integrated out by Laplace's approximation.

        The density given the map is exact. The map is fitted to the same slices, so the log-ratio of the prior to the
        posterior of the map at the mode is added, which is negative. With another `alignment` than 'deformable' there
        is no such term.

        Args:
            images: `[S, n, H, W]` in [0, 1].
            slices: `[n]`, their slice numbers.

        Returns:
            `[S]`, nats.
        """
        given_maps = super().log_prob(images, slices)
        if self.alignment != 'deformable':
            return given_maps
        found = [self.find_map(stack, slices) for stack in images]
        prior = self.finder.prior
        return given_maps + np.array([prior.log_occam_factor(each.subject, each.covariance) for each in found])


def _draw_maps(found: FoundMap, count: int, temperature: float, rng: np.random.Generator) -> list[SubjectMap]:
    """Draws maps of a subject from the Gaussian approximation of their posterior, of scaled deviations."""
    changes = rng.multivariate_normal(np.zeros(len(found.covariance)), found.covariance, count, method='eigh')
    return [found.subject.moved(temperature * change) for change in changes]
