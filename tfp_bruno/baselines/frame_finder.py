"""Size and place of the anatomy of a subject of which only context slices are known.

They are the posterior mode under a Gaussian prior and the likelihood of a few principal components of the training
subjects.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from scipy import optimize
from skimage.transform import downscale_local_mean

from tfp_bruno.baselines.components import Components
from tfp_bruno.registration import Frame, mean_frame

_FOREGROUND = 0.02

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
_LARGEST_LOG_SIZE = 1.5

# The search, in prior standard deviations.
_START_SIZES = (-2.0, -1.0, 0.0, 1.0, 2.0)
_START_PLACES = (-1.0, 0.0, 1.0)
_SEARCHES = 2
_OPTIONS = {'eps': 0.02, 'maxiter': 40, 'ftol': 1e-5}


@dataclasses.dataclass(frozen=True)
class FrameFinder:
    """Infers the frame of a subject from its context slices.

    Attributes:
        mean_frame: Mean of the training subjects' frames.
        root: `[6, 6]`, Cholesky factor of the prior covariance of a subject's six numbers: deviations of its log-sizes
            and of its place from those of the mean frame.
        volumes: `[1 + q, K, h, w]`, mean and components of the training subjects in the mean frame, of images that are
            averaged over blocks.
        image_size: `(H, W)` of the images.
    """

    mean_frame: Frame
    root: np.ndarray
    volumes: np.ndarray
    image_size: tuple[int, int]

    @classmethod
    def fit(cls, train_images: np.ndarray, frames: Sequence[Frame]) -> 'FrameFinder':
        """Fits prior and likelihood to training subjects.

        Args:
            train_images: `[S, K, H, W]`, intensities in [0, 1].
            frames: Their frames.
        """
        centre = mean_frame(frames)
        log_sizes, places = np.log([frame.size for frame in frames]), np.array([frame.place for frame in frames])
        numbers = np.concatenate([log_sizes - np.log(centre.size), places - centre.place], axis=1)
        widths = np.concatenate([np.full(3, _LOG_SIZE_STD), _PLACE_STD * centre.size])
        covariance = numbers.T @ numbers + _PSEUDO_SUBJECTS * np.diag(np.square(widths))
        root = np.linalg.cholesky(covariance / (len(numbers) + _PSEUDO_SUBJECTS))
        axes = [np.arange(size) for size in train_images.shape[1:]]
        coarse = []
        for stack, frame in zip(train_images, frames, strict=True):
            points = [centre.to(frame, axis, i) for i, axis in enumerate(axes)]
            coarse.append(_coarse(resample(stack, points)))
        components = Components.fit(np.stack(coarse).astype(np.float32))
        volumes = np.concatenate([components.mean[None], components.loadings[:_COMPONENTS]])
        return cls(centre, root, volumes, train_images.shape[2:])

    def find(self, context_images: np.ndarray, context_slices: np.ndarray) -> Frame:
        """Returns the frame of the largest posterior density, given context slices.

        Args:
            context_images: `[n, H, W]`.
            context_slices: `[n]`. Without contexts, or if all are black, the frame is the mean frame.
        """
        if not np.any(context_images > _FOREGROUND):
            return self.mean_frame
        images = _coarse(context_images).reshape(-1).astype(np.float64)
        spread = np.sqrt(np.diag(self.root @ self.root.T))
        starts = [
            np.linalg.solve(self.root, spread * [size, size, size, place, 0.0, 0.0])
            for size, place in itertools.product(_START_SIZES, _START_PLACES)
        ]
        arguments = (images, context_slices)
        starts = sorted(starts, key=lambda start: self._loss(start, *arguments))[:_SEARCHES]
        found = [optimize.minimize(self._loss, start, arguments, 'L-BFGS-B', options=_OPTIONS) for start in starts]
        return self._frame(min(found, key=lambda result: result.fun).x)

    def _frame(self, whitened: np.ndarray) -> Frame:
        numbers = self.root @ whitened
        # A line search may try sizes that no subject has.
        log_sizes = np.clip(numbers[:3], -_LARGEST_LOG_SIZE, _LARGEST_LOG_SIZE)
        return Frame(self.mean_frame.size * np.exp(log_sizes), self.mean_frame.place + numbers[3:])

    def _loss(self, whitened: np.ndarray, images: np.ndarray, context_slices: np.ndarray) -> float:
        """Returns the negative log posterior density of the whitened six numbers, without its constant."""
        frame = self._frame(whitened)
        depth = frame.to(self.mean_frame, context_slices, 0)
        factor, plane = _block(self.image_size), []
        for axis, size in enumerate(self.image_size, 1):
            # The middles of the blocks, in pixels.
            pixels = (factor - 1) / 2 + factor * np.arange(-(-size // factor))
            plane.append((frame.to(self.mean_frame, pixels, axis) - pixels[0]) / factor)
        volumes = resample(self.volumes, [depth, *plane]).reshape(len(self.volumes), -1) / _NOISE
        error, loadings = images / _NOISE - volumes[0], volumes[1:].astype(np.float64)
        precision, projected = loadings @ loadings.T + np.eye(len(loadings)), loadings @ error
        explained = projected @ np.linalg.solve(precision, projected)
        distance = error @ error - explained + np.linalg.slogdet(precision)[1]
        return 0.5 * (_TEMPER * distance + whitened @ whitened)


def _block(image_size: tuple[int, ...]) -> int:
    """Returns the side of the blocks of pixels over which images are averaged."""
    return max(1, round(min(image_size) / _PIXELS))


def _coarse(images: np.ndarray) -> np.ndarray:
    """Returns images `[..., H, W]` averaged over blocks."""
    block = _block(images.shape[-2:])
    return downscale_local_mean(images, (*[1] * (images.ndim - 2), block, block))


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
