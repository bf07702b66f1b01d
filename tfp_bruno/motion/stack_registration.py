"""Registers every slice of stacks to a volume, from coarse to fine."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.errors import UserError
from tfp_bruno.motion.slice_registration import Pixels, Target, correlation, make_target, register_slice
from tfp_bruno.motion.slices import SliceStack, Transforms

# Voxels around the part of a target that is not 0, so that its border is inside.
BORDER = 3


@dataclasses.dataclass(frozen=True)
class Level:
    """One resolution of the registration.

    Attributes:
        step: Distance of the compared pixels, mm; not below that of the pixels.
        sigma: Standard deviation of the Gaussian that smooths slice and target, mm. Pixels up to twice as far outside
            the mask are compared, too, as background.
    """

    step: float
    sigma: float


@dataclasses.dataclass(frozen=True)
class RegistrationSettings:
    """How slices are registered; the same for every target.

    Attributes:
        levels: From coarse to fine.
        search: Largest shift along each world axis of the starting points that are tried at the coarsest level, mm. In
            a wide search, slices of a symmetric anatomy also find their mirror images.
        search_step: Distance of the starting points, mm.
        candidates: Number of starting points from which the coarsest level is optimised; the best result is kept.
        least_area: Slices that show less of the mask, mm^2, are not registered and not used.
        together: 'slice' registers every slice by itself, 'batch' the slices of a batch with one transform.

    Raises:
        UserError: If a value is out of range.
    """

    levels: tuple[Level, ...] = (Level(5.0, 3.0), Level(2.5, 1.0))
    search: float = 10.0
    search_step: float = 10.0
    candidates: int = 3
    least_area: float = 600.0
    together: str = 'slice'

    def __post_init__(self) -> None:
        if not self.levels:
            raise UserError('`levels`: are none; give at least one.')
        if self.search < 0 or self.search_step <= 0 or self.candidates < 1:
            raise UserError('`search`: must be at least 0, `search_step` above 0 and `candidates` at least 1.')
        if self.together not in ('slice', 'batch'):
            raise UserError(f'`together={self.together}`: give slice or batch.')


@dataclasses.dataclass(frozen=True)
class Registered:
    """The result of registering stacks.

    Attributes:
        transforms: float64 `[N, 4, 4]` for each stack; as before for slices that were not registered.
        correlations: float64 `[N]` for each stack: of the slice with the target; NaN if it was not registered.
    """

    transforms: list[np.ndarray]
    correlations: list[np.ndarray]


def usable_slices(stacks: Sequence[SliceStack], least_area: float) -> list[np.ndarray]:
    """Returns which slices show enough to be registered, bool `[N]` for each stack.

    A slice must show at least `least_area` mm^2 of the mask, and contrast inside it.
    """
    usable = []
    for stack in stacks:
        areas = stack.mask.sum(axis=(0, 1)) * np.prod(stack.spacing[:2])
        highest = np.where(stack.mask, stack.data, -np.inf).max(axis=(0, 1))
        lowest = np.where(stack.mask, stack.data, np.inf).min(axis=(0, 1))
        usable.append((areas >= least_area) & (highest > lowest))
    return usable


def register_stacks(
    stacks: Sequence[SliceStack],
    volume: np.ndarray,
    affine: np.ndarray,
    transforms: Transforms,
    settings: RegistrationSettings | None = None,
) -> Registered:
    """Registers every usable slice to a volume.

    The target is not smoothed across the slices by their profile: averages and completions are blurred already, and
    to blur them further moves the maximum of the correlation more than the thickness of the slices does. The result of
    a slice does not depend on other slices, or on their order.

    Args:
        stacks: The stacks.
        volume: The target `[X, Y, Z]`, background 0.
        affine: Of the target, voxel indices to world mm, `[4, 4]`.
        transforms: Where each slice lies so far, `[N, 4, 4]` for each stack.
        settings: How; None for the default.

    Returns:
        The transforms and the correlations.

    Raises:
        UserError: If the target shows nothing.
    """
    settings = settings or RegistrationSettings()
    volume, affine = _crop(volume, affine)
    found = []
    targets = [_level_target(volume, affine, level) for level in settings.levels]
    for stack, own, usable in zip(stacks, transforms, usable_slices(stacks, settings.least_area), strict=True):
        moved, correlations = np.array(own, np.float64), np.full(stack.num_slices, np.nan)
        for group in _groups(stack, usable, settings.together):
            pixels = [_level_pixels(stack, group, level) for level in settings.levels]
            moved[group], correlations[group] = _register(targets, pixels, moved[group[0]], settings)
        found.append((moved, correlations))
    return Registered([moved for moved, _ in found], [correlations for _, correlations in found])


def _register(
    targets: Sequence[Target], pixels: Sequence[Pixels], start: np.ndarray, settings: RegistrationSettings
) -> tuple[np.ndarray, float]:
    """Returns the transform of one slice, or of slices that move together, and its correlation."""
    starts = list(_shifted(start, settings))
    if len(starts) > settings.candidates:
        starts.sort(key=lambda each: -correlation(targets[0], pixels[0], each))
    results = [register_slice(targets[0], pixels[0], each) for each in starts[: settings.candidates]]
    best, value = max(results, key=lambda each: each[1])
    for target, own in zip(targets[1:], pixels[1:], strict=True):
        best, value = register_slice(target, own, best)
    return best, value


def _shifted(start: np.ndarray, settings: RegistrationSettings) -> Iterator[np.ndarray]:
    """Yields the start, shifted by every point of a cube."""
    count = int(settings.search / settings.search_step)
    for shift in itertools.product(*3 * (settings.search_step * np.arange(-count, count + 1),)):
        moved = start.copy()
        moved[:3, 3] += shift
        yield moved


def _groups(stack: SliceStack, usable: np.ndarray, together: str) -> list[np.ndarray]:
    """Returns the indices of the slices that share a transform, for each such group."""
    indices = np.flatnonzero(usable)
    if together == 'slice':
        return list(indices[:, None])
    return [indices[stack.batches[indices] == batch] for batch in np.unique(stack.batches[indices])]


def _crop(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the part of a volume that is not 0, with a border of zeros, and its affine."""
    boxes = ndimage.find_objects((volume != 0).astype(np.uint8))
    if not boxes:
        raise UserError('`volume`: the target shows nothing, every voxel is 0; give another start volume.')
    lowest = [part.start - BORDER for part in boxes[0]]
    inside = np.pad(volume[boxes[0]], BORDER)
    return inside, affine @ nibabel.affines.from_matvec(np.eye(3), lowest)


def _level_target(volume: np.ndarray, affine: np.ndarray, level: Level) -> Target:
    """Returns the target smoothed for a level, on a coarser grid if that is smooth enough."""
    spacing = nibabel.affines.voxel_sizes(affine)
    smooth = ndimage.gaussian_filter(volume, level.sigma / spacing, mode='constant')
    stride = [max(1, int(step)) for step in level.sigma / spacing]
    return make_target(smooth[:: stride[0], :: stride[1], :: stride[2]], affine @ np.diag([*stride, 1.0]))


def _level_pixels(stack: SliceStack, group: np.ndarray, level: Level) -> Pixels:
    """Returns the pixels of slices that a level compares, with background outside the mask."""
    points, values = [], []
    pixel = stack.spacing[:2]
    stride = [max(1, round(level.step / side)) for side in pixel]
    for index in group:
        mask = stack.mask[:, :, index]
        image = ndimage.gaussian_filter(
            np.where(mask, stack.data[:, :, index], 0.0), level.sigma / pixel, mode='constant'
        )
        if level.sigma:
            mask = ndimage.distance_transform_edt(~mask, sampling=pixel) <= 2 * level.sigma
        chosen = np.argwhere(mask[:: stride[0], :: stride[1]]) * stride
        points.append(nibabel.affines.apply_affine(stack.slice_affine(index), np.insert(chosen, 2, 0, axis=1)))
        values.append(image[chosen[:, 0], chosen[:, 1]])
    return Pixels(np.concatenate(points), np.concatenate(values))
