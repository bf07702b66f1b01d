"""Size and place of the anatomy in a stack, and their inference from a few context slices.

Subjects that are brought to one size and place differ only in shape and grey levels. Size and place are six numbers:
the standard deviation and the mean of the foreground's indices along the three axes. Of a training subject they are
measured; of a subject of which only context slices are known they are inferred, by the posterior mode under a Gaussian
prior and the likelihood of a few principal components of the training subjects.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize
from skimage.transform import downscale_local_mean

from tfp_bruno.baselines.base import check_training_images
from tfp_bruno.baselines.principal_components import Components

_FOREGROUND = 0.02
_SMALLEST_SIZE = 0.5

# The likelihood: images of about 32 x 32 pixels, few components, and the standard deviation of what they leave.
# Neighbouring pixels err together, so the likelihood is tempered.
_PIXELS = 32
_COMPONENTS = 24
_NOISE = 0.1
_TEMPER = 0.1

# The prior: standard deviations of the logarithm of a size and, relative to the size, of a place, that count as much as
# so many training subjects.
_LOG_SIZE_STD = 0.1
_PLACE_STD = 0.15
_PSEUDO_SUBJECTS = 2

# The search, in prior standard deviations.
_START_SIZES = (-2.0, -1.0, 0.0, 1.0, 2.0)
_START_PLACES = (-1.0, 0.0, 1.0)
_SEARCHES = 2
_OPTIONS = {'eps': 0.02, 'maxiter': 40, 'ftol': 1e-5}


class Frame(NamedTuple):
    """Size and place of the anatomy in a stack.

    Attributes:
        size: `[3]`, standard deviation of the foreground's indices along (K, H, W).
        place: `[3]`, their mean.
    """

    size: np.ndarray
    place: np.ndarray

    @classmethod
    def measure(cls, stack: np.ndarray) -> 'Frame':
        """Returns the frame of a whole stack `[K, H, W]`; that of a full stack if it has no foreground."""
        foreground = stack > _FOREGROUND
        if not foreground.any():
            foreground = np.ones(stack.shape, bool)
        moments = []
        for axis in range(3):
            counts = foreground.sum(axis=tuple(np.delete(range(3), axis)))
            index, weights = np.arange(len(counts)), counts / counts.sum()
            mean = weights @ index
            moments.append((np.sqrt(weights @ np.square(index - mean)), mean))
        size, place = np.array(moments).T
        return cls(np.maximum(size, _SMALLEST_SIZE), place)

    def to(self, other: 'Frame', points: np.ndarray, axis: int) -> np.ndarray:
        """Returns the coordinates along one axis, in a stack of another frame, of coordinates in one of this frame."""
        return other.place[axis] + (points - self.place[axis]) * (other.size[axis] / self.size[axis])


class FrameFinder:
    """Infers the frame of a subject from its context slices.

    Attributes:
        frames: Frames of the training subjects.
        mean_frame: Their mean, geometric in size.
    """

    def __init__(self, train_images: np.ndarray) -> None:
        """Measures the training subjects, and fits prior and likelihood.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].

        Raises:
            ValueError: If the shape is wrong or there is no subject.
        """
        train_images = check_training_images(train_images)
        self._shape = train_images.shape[1:]
        self.frames = [Frame.measure(stack) for stack in train_images]
        log_sizes = np.log([frame.size for frame in self.frames])
        places = np.array([frame.place for frame in self.frames])
        self.mean_frame = Frame(np.exp(log_sizes.mean(axis=0)), places.mean(axis=0))
        # Six numbers of a subject: deviations of its log-sizes and of its place from those of the mean frame.
        numbers = np.concatenate([log_sizes - np.log(self.mean_frame.size), places - self.mean_frame.place], axis=1)
        widths = np.concatenate([np.full(3, _LOG_SIZE_STD), _PLACE_STD * self.mean_frame.size])
        covariance = numbers.T @ numbers + _PSEUDO_SUBJECTS * np.diag(np.square(widths))
        self._root = np.linalg.cholesky(covariance / (len(numbers) + _PSEUDO_SUBJECTS))
        self._factor = max(1, round(min(self._shape[1:]) / _PIXELS))
        self._fit_components(train_images)

    def find(self, context_images: np.ndarray, context_slices: np.ndarray) -> Frame:
        """Returns the frame of the largest posterior density, given context slices.

        Args:
            context_images: `[n, H, W]`.
            context_slices: `[n]`. Without contexts, or if all are black, the frame is the mean frame.
        """
        if not np.any(context_images > _FOREGROUND):
            return self.mean_frame
        images = self._coarse(context_images).reshape(-1).astype(np.float64)
        spread = np.sqrt(np.diag(self._root @ self._root.T))
        starts = [
            np.linalg.solve(self._root, spread * [size, size, size, place, 0.0, 0.0])
            for size, place in itertools.product(_START_SIZES, _START_PLACES)
        ]
        arguments = (images, context_slices)
        starts = sorted(starts, key=lambda start: self._loss(start, *arguments))[:_SEARCHES]
        found = [optimize.minimize(self._loss, start, arguments, 'L-BFGS-B', options=_OPTIONS) for start in starts]
        return self._frame(min(found, key=lambda result: result.fun).x)

    def _frame(self, whitened: np.ndarray) -> Frame:
        numbers = self._root @ whitened
        return Frame(self.mean_frame.size * np.exp(numbers[:3]), self.mean_frame.place + numbers[3:])

    def _coarse(self, images: np.ndarray) -> np.ndarray:
        """Returns images `[..., H, W]` averaged over blocks."""
        return downscale_local_mean(images, (*[1] * (images.ndim - 2), self._factor, self._factor))

    def _pixels(self) -> list[np.ndarray]:
        """Returns the coordinates of the rows and of the columns of coarse images in the stack."""
        middle = (self._factor - 1) / 2
        return [middle + self._factor * np.arange(-(-size // self._factor)) for size in self._shape[1:]]

    def _fit_components(self, train_images: np.ndarray) -> None:
        """Fits the components of the training subjects in the mean frame, at the coarse resolution."""
        axes = [np.arange(size) for size in self._shape]
        coarse = []
        for stack, frame in zip(train_images, self.frames, strict=True):
            points = [self.mean_frame.to(frame, axis, i) for i, axis in enumerate(axes)]
            coarse.append(self._coarse(resample(stack, points)))
        components = Components.fit(np.stack(coarse).astype(np.float32))
        self._volumes = np.concatenate([components.mean[None], components.loadings[:_COMPONENTS]])

    def _loss(self, whitened: np.ndarray, images: np.ndarray, context_slices: np.ndarray) -> float:
        """Returns the negative log posterior density of the whitened six numbers, without its constant."""
        frame = self._frame(whitened)
        depth = frame.to(self.mean_frame, context_slices, 0)
        plane = [
            (frame.to(self.mean_frame, pixels, axis) - pixels[0]) / self._factor
            for axis, pixels in enumerate(self._pixels(), 1)
        ]
        volumes = resample(self._volumes, [depth, *plane]).reshape(len(self._volumes), -1) / _NOISE
        error, loadings = images / _NOISE - volumes[0], volumes[1:].astype(np.float64)
        precision, projected = loadings @ loadings.T + np.eye(len(loadings)), loadings @ error
        explained = projected @ np.linalg.solve(precision, projected)
        distance = error @ error - explained + np.linalg.slogdet(precision)[1]
        return 0.5 * (_TEMPER * distance + whitened @ whitened)


def resample(stacks: np.ndarray, points: Sequence[np.ndarray]) -> np.ndarray:
    """Interpolates stacks linearly on a grid; they are 0 outside.

    Args:
        stacks: `[..., K, H, W]`.
        points: Coordinates of the grid along each of the last three axes, in voxels.

    Returns:
        `[..., K', H', W']`, of as many points along each axis as given.
    """
    depth, rows, columns = (
        interpolation_matrix(each, size) for each, size in zip(points, stacks.shape[-3:], strict=True)
    )
    used = np.flatnonzero(depth.any(axis=0))
    planes = stacks[..., used, :, :]
    mixed = depth[:, used] @ planes.reshape(*planes.shape[:-2], planes.shape[-2] * planes.shape[-1])
    return rows @ (mixed.reshape(*mixed.shape[:-1], *planes.shape[-2:]) @ columns.T)


def interpolation_matrix(points: np.ndarray, size: int) -> np.ndarray:
    """Returns the weights `[n, size]` of the values at 0, ..., size - 1 in those linearly interpolated at n points."""
    return np.maximum(0.0, 1.0 - np.abs(np.subtract.outer(points, np.arange(size)))).astype(np.float32)
