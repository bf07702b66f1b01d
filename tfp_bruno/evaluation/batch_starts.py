"""Start volumes for slice-to-volume reconstruction that come from one batch of slices.

The slices of a batch are acquired at the same moment, so they are free of motion against each other. A volume that is
completed from them lies where the anatomy lay at that moment.
"""

import dataclasses
from collections.abc import Callable

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.contracts import CompletionModel, LocatingModel, Predictor
from tfp_bruno.data import FOREGROUND_THRESHOLD
from tfp_bruno.errors import UserError
from tfp_bruno.motion import SliceStack
from tfp_bruno.registration import Frame


@dataclasses.dataclass(frozen=True)
class Batch:
    """The slices of one batch as contexts of a model.

    Attributes:
        images: float32 `[n, H, W]` in [0, 1], background 0.
        slices: Slice numbers `[n]` in the model's stack, each the nearest to where the slice lies.
        affine: Of the model's stack in the world of the scanner, (w, h, k, 1) to mm, `[4, 4]`.
        motion: From the world of the scanner to that of the truth during the batch, `[4, 4]`; known of simulated
            slices only, and used only for scores.
    """

    images: np.ndarray
    slices: np.ndarray
    affine: np.ndarray
    motion: np.ndarray


@dataclasses.dataclass(frozen=True)
class PlacedVolume:
    """A volume in the world of the scanner.

    Attributes:
        data: float32 `[X, Y, Z]`.
        affine: Voxel indices to world mm, `[4, 4]`.
        motion: From the world of the scanner to that of the truth, `[4, 4]`.
    """

    data: np.ndarray
    affine: np.ndarray
    motion: np.ndarray

    def moved(self, transform: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        """Returns the volume, moved by a transform of the world `[4, 4]`, on a grid; 0 outside of it.

        Args:
            transform: From the world of the scanner to another.
            shape: Of the grid.
            affine: Of the grid, `[4, 4]`.

        Returns:
            float32 `shape`, interpolated linearly.
        """
        grid = np.linalg.inv(transform @ self.affine) @ affine
        return ndimage.affine_transform(
            self.data, grid[:3, :3], grid[:3, 3], shape, np.float32, order=1, mode='grid-constant'
        )


def choose_batch(stack: SliceStack, least_area: float) -> np.ndarray:
    """Chooses the batch that shows most of the anatomy.

    Args:
        stack: The stack.
        least_area: Area of the mask in mm^2 from which on a slice counts.

    Returns:
        Indices of its slices that count, ascending: of the complete batches, the one with the most of them, and of
        these the one with the largest area.

    Raises:
        UserError: If no slice shows that much.
    """
    areas = stack.mask.sum(axis=(0, 1)) * np.prod(stack.spacing[:2])
    batches = [np.flatnonzero(stack.batches == number) for number in np.unique(stack.batches)]
    most = max(map(len, batches))
    counting = [each[areas[each] >= least_area] for each in batches if len(each) == most]
    best = max(counting, key=lambda each: (len(each), areas[each].sum()))
    if not len(best):
        raise UserError(f'{stack.name}: no slice of a whole batch shows {least_area:g} mm^2 of the mask.')
    return best


def make_batch(
    stack: SliceStack,
    transforms: np.ndarray,
    chosen: np.ndarray,
    stack_shape: tuple[int, int, int],
    affine: np.ndarray,
    place: np.ndarray,
    offset: float = 0.0,
) -> Batch:
    """Resamples the slices of a batch to a model's stack, which is centred on the anatomy in the plane of the slices.

    Args:
        stack: The stack that was acquired, its slices parallel to those of the model.
        transforms: True transforms of its slices, `[N, 4, 4]`.
        chosen: Indices of the slices of the batch.
        stack_shape: `(K, H, W)` of the model.
        affine: Of the model's stack, (w, h, k, 1) to world mm, `[4, 4]`.
        place: Where the anatomy of training subjects has its middle, indices `[3]` along (w, h, k).
        offset: Of the model's stack across the slices, mm.

    Returns:
        The batch. Slices beyond the model's stack are left out.

    Raises:
        UserError: If none is left.
    """
    num_slices, height, width = stack_shape
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    centre = np.concatenate([stack.mask_points(index) for index in chosen]).mean(axis=0)
    shift = centre - nibabel.affines.apply_affine(affine, place)
    moved = affine.copy()
    moved[:3, 3] += shift - (shift @ normal - offset) * normal
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    images, slices = [], []
    for index in chosen:
        to_slice = np.linalg.inv(stack.slice_affine(index)) @ moved
        # Where the model's axis of slices meets the plane of this one.
        number = int(np.round(-to_slice[2, 3] / to_slice[2, 2]))
        if 0 <= number < num_slices:
            pixels = [to_slice[a, 0] * columns + to_slice[a, 1] * rows + to_slice[a, 3] for a in range(2)]
            image = np.where(stack.mask[:, :, index], stack.data[:, :, index], np.float32(0))
            images.append(ndimage.map_coordinates(image, pixels, np.float32, order=1).clip(0, 1))
            slices.append(number)
    if not slices:
        raise UserError(f'{stack.name}: the batch lies beyond the stack of the model.')
    order = np.argsort(slices)
    return Batch(np.stack(images)[order], np.array(slices)[order], moved, transforms[chosen[0]])


def place_batch(make: Callable[[float], Batch], model: CompletionModel, step: float, reach: float) -> Batch:
    """Chooses where the slices of a batch lie across the model's stack.

    The anatomy may have moved by more than it differs from one training subject to another. A model that finds places
    compares its training subjects with the batch at every offset; others take the least offset. Only offsets count at
    which the most slices lie in the stack.

    Args:
        make: Returns the batch at an offset in mm; raises a `UserError` if it does not lie in the stack.
        model: The model.
        step: Distance of the offsets, mm.
        reach: Largest offset, mm.

    Returns:
        The batch at the best offset.

    Raises:
        UserError: If it lies in the stack at none of them.
    """
    count = int(reach / step)
    batches, errors = [], []
    for number in sorted(range(-count, count + 1), key=abs):
        try:
            batches.append(make(number * step))
        except UserError as error:
            errors.append(error)
    if not batches:
        raise errors[0]
    most = max(len(batch.slices) for batch in batches)
    batches = [batch for batch in batches if len(batch.slices) == most]
    if not isinstance(model, LocatingModel):
        return batches[0]
    return max(batches, key=lambda batch: model.log_posterior(batch.images, batch.slices, coarse=True))


def complete_batch(batch: Batch, predictor: Predictor, num_slices: int) -> PlacedVolume:
    """Returns the volume that a model of `num_slices` slices predicts from a batch."""
    stack = np.asarray(predictor.predict(batch.images[None], batch.slices, np.arange(num_slices)))[0]
    return PlacedVolume(stack.T, batch.affine, batch.motion)


def mean_start(batch: Batch, model: CompletionModel, mean: np.ndarray) -> PlacedVolume:
    """Returns the mean of the training subjects as a start volume.

    Args:
        batch: The batch.
        model: If it finds places, the mean is its prediction without contexts at the affine map that it finds from the
            batch; otherwise the mean is as it is.
        mean: `[K, H, W]`, the mean of the training subjects.
    """
    if isinstance(model, LocatingModel):
        found = model.with_alignment('affine').locate(batch.images, batch.slices).found
        mean = model.predict_in_frame(found.subject, np.arange(len(mean)))
    return PlacedVolume(mean.T, batch.affine, batch.motion)


def centring(volume: PlacedVolume, target: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Returns the translation `[4, 4]` of the world that brings the middle of a volume to that of a target.

    Args:
        volume: The volume.
        target: `[X, Y, Z]`, such as the average of all slices.
        affine: Of the target, `[4, 4]`.
    """
    return nibabel.affines.from_matvec(np.eye(3), _middle(target, affine) - _middle(volume.data, volume.affine))


def mean_place(mean: np.ndarray) -> np.ndarray:
    """Returns the middle of the anatomy of training subjects in their stack, indices `[3]` along (w, h, k).

    Args:
        mean: `[K, H, W]`, their mean.
    """
    return Frame.measure(mean).place[::-1]


def _middle(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Returns the world point [3] in the middle of the intensities of a volume."""
    bright = np.where(data > FOREGROUND_THRESHOLD, data, 0)
    if not bright.any():
        raise UserError('`starts`: a start volume shows nothing; leave its model out.')
    return nibabel.affines.apply_affine(affine, ndimage.center_of_mass(bright))
