"""Training subjects that resemble the contexts, deformed to them: their average, and their principal components.

The frame of the subject (size and place of its anatomy) is inferred from the contexts. Every training subject is
brought to it, and those nearest to the contexts are deformed to them: by optical flow (iterative Lucas-Kanade, Le Besnerais and
Champagnat 2005) in the plane of each context; between contexts the displacement is interpolated.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage.registration import optical_flow_ilk

from tfp_bruno.baselines.base import Baseline, check_training_images
from tfp_bruno.baselines.frames import Frame, FrameFinder, resample
from tfp_bruno.baselines.principal_components import Components
from tfp_bruno.baselines.simple import interpolation_weights

# Chosen on training subjects of templates that were left out, see docs/baselines.md: how many neighbours are deformed,
# and how many of them are kept for the components and for the average; optical flow; components and kriging.
CANDIDATES = 60
NEIGHBOURS = 60
AVERAGED = 8
RADIUS = 7
WARPS = 3
NOISE = 0.3
LENGTH = 8.0

_REACH = 3
_FARTHEST = 0.25
_DARK = 0.05
# Between equally good depths, the nearer is taken.
_TIE = 1e-6


class _Query(NamedTuple):
    """The contexts of one subject and its frame.

    Attributes:
        images: `[n, H, W]`, float32.
        slices: `[n]`, ascending.
        frame: The frame of the subject.
    """

    images: np.ndarray
    slices: np.ndarray
    frame: Frame


class NeighbourPopulation:
    """The training subjects, brought to the frame of a subject and deformed to its contexts.

    Attributes:
        stack_shape: `(K, H, W)`.
    """

    def __init__(self, train_images: ArrayLike) -> None:
        """Measures the frames of the training subjects, which are kept without a copy.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: If the shape is wrong or there is no subject.
        """
        self._train_images = check_training_images(train_images)
        self.stack_shape = self._train_images.shape[1:]
        self._finder = FrameFinder(self._train_images)
        self._latest: tuple[bytes, np.ndarray] | None = None

    def mean(self) -> np.ndarray:
        """Returns the mean `[K, H, W]` of the training subjects, all brought to their mean frame."""
        axes = [np.arange(size) for size in self.stack_shape]
        total = np.zeros(self.stack_shape)
        for subject in range(len(self._train_images)):
            total += self._align(subject, self._finder.mean_frame, axes[0])
        return (total / len(self._train_images)).astype(np.float32)

    def deform(self, context_images: np.ndarray, context_slices: np.ndarray) -> np.ndarray:
        """Returns the nearest training subjects, deformed to context slices.

        Args:
            context_images: `[n, H, W]`, n at least 1.
            context_slices: `[n]`.

        Returns:
            float32 `[m, K, H, W]`, the subject with the least squared error at the contexts first; m is `NEIGHBOURS` or
            the number of training subjects. The result for the latest contexts is kept.
        """
        order = np.argsort(context_slices)
        images = np.ascontiguousarray(context_images[order], np.float32)
        slices = context_slices[order]
        key = images.tobytes() + slices.tobytes()
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self._deform(_Query(images, slices, self._finder.find(images, slices)))
        return self._latest[1]

    def _deform(self, query: _Query) -> np.ndarray:
        aligned = (self._align(subject, query.frame, query.slices) for subject in range(len(self._train_images)))
        candidates = _least_error(aligned, query.images)[:CANDIDATES]
        fields = {subject: self._displacement(subject, query) for subject in candidates}
        at_contexts = (self._sample(subject, query, query.slices, field) for subject, field in fields.items())
        chosen = candidates[_least_error(at_contexts, query.images)[:NEIGHBOURS]]
        every = np.arange(self.stack_shape[0])
        weights = interpolation_weights(query.slices, every).astype(np.float32)
        return np.stack([self._sample(s, query, every, np.einsum('kn,cnhw->ckhw', weights, fields[s])) for s in chosen])

    def _align(self, subject: int, frame: Frame, slices: np.ndarray) -> np.ndarray:
        """Returns slices `[n, H, W]` of a training subject that was brought to a frame."""
        axes = (slices, *(np.arange(size) for size in self.stack_shape[1:]))
        own = self._finder.frames[subject]
        return resample(self._train_images[subject], [frame.to(own, axis, i) for i, axis in enumerate(axes)])

    def _displacement(self, subject: int, query: _Query) -> np.ndarray:
        """Returns the displacement `[3, n, H, W]`, in voxels, from each context to its match in a training subject.

        The match is the slice with the least squared error among those near the context; optical flow takes the context
        to it. Dark slices are not displaced in their plane.
        """
        offsets = np.arange(-_REACH, _REACH + 1)
        field = np.zeros((3, *query.images.shape), np.float32)
        farthest = _FARTHEST * min(self.stack_shape[1:])
        for n, (image, position) in enumerate(zip(query.images, query.slices, strict=True)):
            near = self._align(subject, query.frame, position + offsets)
            errors = np.mean(np.square(near - image), axis=(1, 2)) + _TIE * np.abs(offsets)
            match = np.argmin(errors)
            field[0, n] = offsets[match]
            if min(image.max(), near[match].max()) > _DARK:
                flow = optical_flow_ilk(image, near[match], radius=RADIUS, gaussian=True, num_warp=WARPS)
                field[1:, n] = np.clip(np.nan_to_num(flow), -farthest, farthest)
        return field

    def _sample(self, subject: int, query: _Query, slices: np.ndarray, field: np.ndarray) -> np.ndarray:
        """Returns slices `[Q, H, W]` of a training subject, displaced by `[3, Q, H, W]` and brought to the frame."""
        axes = np.ix_(slices, *(np.arange(size) for size in self.stack_shape[1:]))
        own = self._finder.frames[subject]
        points = [query.frame.to(own, axis + moved, i) for i, (axis, moved) in enumerate(zip(axes, field, strict=True))]
        return ndimage.map_coordinates(self._train_images[subject], np.stack(points), np.float32, order=1)


class DeformedNeighbours(Baseline):
    """Predicts the average of the training subjects nearest to the contexts, deformed to them.

    Without contexts it predicts the mean of the training subjects in their mean frame.
    """

    def __init__(self, population: NeighbourPopulation) -> None:
        """Predicts with the training subjects of a population."""
        super().__init__(population.stack_shape)
        self._population = population
        self._mean = population.mean()

    def _predict(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        if not len(context_slices):
            return np.repeat(self._mean[None, query_slices], len(context_images), axis=0)
        completed = [self._complete(images, context_slices, query_slices) for images in context_images]
        return np.clip(completed, 0.0, 1.0).reshape(-1, len(query_slices), *self.stack_shape[1:])

    def _complete(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        """Returns the completion `[Q, H, W]` of one subject."""
        return self._population.deform(context_images, context_slices)[:AVERAGED, query_slices].mean(axis=0)


class DeformedComponents(DeformedNeighbours):
    """Predicts the conditional mean of principal components of more deformed neighbours, plus the kriged residual.

    The components are those of the neighbours of one subject; see `KrigedComponents` for the rest.
    """

    def _complete(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        order = np.argsort(context_slices)
        slices, images = context_slices[order], context_images[order]
        components = Components.fit(self._population.deform(images, slices))
        errors = (images - components.mean[slices])[None]
        scores = components.scores(errors, slices, len(components.loadings), NOISE)
        return components.mean[query_slices] + components.predict(scores, errors, slices, query_slices, LENGTH)[0]


def _least_error(volumes: Iterable[np.ndarray], images: np.ndarray) -> np.ndarray:
    """Returns the order of volumes `[n, H, W]`, which may be an iterator, by squared error, the least first."""
    return np.argsort([np.mean(np.square(volume - images)) for volume in volumes], kind='stable')
