"""Training subjects that resemble the contexts, deformed to them: their average, and their principal components.

The frame of the subject (size and place of its anatomy) is inferred from the contexts. Every training subject is
brought to that frame, and those nearest to the contexts are deformed to them: in the plane of each context by optical
flow (iterative Lucas-Kanade, Le Besnerais and Champagnat 2005), the displacement being interpolated between contexts.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage.registration import optical_flow_ilk

from tfp_bruno.baselines.base import Baseline, check_training_images
from tfp_bruno.baselines.components import Components
from tfp_bruno.baselines.frame_finder import FrameFinder, resample
from tfp_bruno.baselines.simple import interpolation_weights, mean_over_subjects
from tfp_bruno.registration import Frame

# Chosen on training subjects of templates that were left out, see docs/baselines.md: the number of neighbours, and
# of those that are averaged; half the window and the iterations of the optical flow; the standard deviation of what the
# components leave, and the length scale of its kriging, in slices.
NEIGHBOURS = 100
AVERAGED = 8
RADIUS = 5
WARPS = 3
NOISE = 0.2
LENGTH = 4.0

# The longest displacement along an axis, as a share of the image, and the largest grey level of a dark image.
_FARTHEST = 0.25
_DARK = 0.05


class NeighbourPopulation:
    """The training subjects, brought to the frame of a subject and deformed to its contexts.

    Attributes:
        mean: `[K, H, W]`, the mean of the training subjects as they are.
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
        self.mean = mean_over_subjects(self._train_images)
        self._frames = [Frame.measure(stack) for stack in self._train_images]
        self._finder = FrameFinder.fit(self._train_images, self._frames)
        self._latest: tuple[bytes, np.ndarray] | None = None

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
        latest = self._latest
        if latest is None or latest[0] != key:
            self._latest = latest = key, self._deform(images, slices)
        return latest[1]

    def _deform(self, images: np.ndarray, slices: np.ndarray) -> np.ndarray:
        frame, every = self._finder.find(images, slices), np.arange(self.stack_shape[0])
        aligned = np.stack([self._align(subject, frame, slices) for subject in range(len(self._train_images))])
        neighbours = _nearest(aligned, images)[:NEIGHBOURS]
        fields = [_displacement(images, aligned[subject]) for subject in neighbours]
        weights = interpolation_weights(slices, every).astype(np.float32)
        deformed = np.stack(
            [
                self._sample(subject, np.tensordot(field, weights, ([1], [1])).transpose(0, 3, 1, 2), frame, every)
                for subject, field in zip(neighbours, fields, strict=True)
            ]
        )
        return deformed[_nearest(deformed[:, slices], images)]

    def _align(self, subject: int, frame: Frame, slices: np.ndarray) -> np.ndarray:
        """Returns slices `[Q, H, W]` of a training subject that is brought to a frame."""
        points = [frame.to(self._frames[subject], axis, i) for i, axis in enumerate(self._axes(slices))]
        return resample(self._train_images[subject], points)

    def _sample(self, subject: int, field: np.ndarray, frame: Frame, slices: np.ndarray) -> np.ndarray:
        """Returns slices `[Q, H, W]` of a training subject that is brought to a frame and displaced in their plane.

        Args:
            subject: Number of the training subject.
            field: `[2, Q, H, W]`, displacement along H and W in the frame, in pixels.
            frame: The frame.
            slices: `[Q]`.
        """
        depth, rows, columns = np.ix_(*self._axes(slices))
        moved = (depth + np.zeros_like(field[0]), rows + field[0], columns + field[1])
        points = [frame.to(self._frames[subject], axis, i) for i, axis in enumerate(moved)]
        # One interpolation for frame and displacement together keeps the volume sharp.
        return ndimage.map_coordinates(self._train_images[subject], points, np.float32, order=1)

    def _axes(self, slices: np.ndarray) -> tuple[np.ndarray, ...]:
        return slices, *(np.arange(size) for size in self.stack_shape[1:])


class DeformedNeighbours(Baseline):
    """Predicts the average of the training subjects nearest to the contexts, deformed to them.

    Without contexts it predicts the mean of the training subjects.
    """

    def __init__(self, population: NeighbourPopulation) -> None:
        """Predicts with the training subjects of a population."""
        super().__init__(population.stack_shape)
        self._population = population

    def _predict(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        if not len(context_slices):
            return np.repeat(self._population.mean[None, query_slices], len(context_images), axis=0)
        completed = [self._complete(images, context_slices, query_slices) for images in context_images]
        return np.clip(completed, 0.0, 1.0).reshape(-1, len(query_slices), *self.stack_shape[1:])

    def _complete(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        """Returns the completion `[Q, H, W]` of one subject."""
        return self._population.deform(context_images, context_slices)[:AVERAGED, query_slices].mean(axis=0)


class DeformedComponents(DeformedNeighbours):
    """Predicts by a Gaussian with mean and covariance of the deformed neighbours, and adds the kriged residual.

    All principal components of the neighbours count, so the neighbours' deviations from their mean stand for them; the
    rest is as in `KrigedComponents`.
    """

    def _complete(self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray) -> np.ndarray:
        deformed = self._population.deform(context_images, context_slices)
        mean = deformed.mean(axis=0)
        components = Components(mean, (deformed - mean) / np.float32(np.sqrt(max(1, len(deformed) - 1))))
        order = np.argsort(context_slices)
        slices = context_slices[order]
        errors = (context_images[order] - mean[slices])[None]
        scores = components.scores(errors, slices, len(deformed), NOISE)
        return mean[query_slices] + components.predict(scores, errors, slices, query_slices, LENGTH)[0]


def _nearest(volumes: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns the order of volumes `[m, n, H, W]` by their squared error at images `[n, H, W]`, the least first."""
    return np.argsort([np.mean(np.square(volume - images)) for volume in volumes], kind='stable')


def _displacement(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the displacement `[2, n, H, W]`, in pixels, from images `[n, H, W]` to the same places in others.

    Dark images are not displaced.
    """
    field = np.zeros((2, *images.shape), np.float32)
    farthest = _FARTHEST * min(images.shape[1:])
    for n, (image, other) in enumerate(zip(images, others, strict=True)):
        if min(image.max(), other.max()) > _DARK:
            flow = optical_flow_ilk(image, other, radius=RADIUS, gaussian=True, num_warp=WARPS)
            field[:, n] = np.clip(np.nan_to_num(flow), -farthest, farthest)
    return field
