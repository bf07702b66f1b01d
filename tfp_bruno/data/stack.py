"""From a volume to the model's stack of slices, and the affine that leads back to the world."""

import dataclasses
import pathlib

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.intensity_range import intensity_range
from tfp_bruno.data.nifti import Volume
from tfp_bruno.data.orientation import orient
from tfp_bruno.errors import UserError


@dataclasses.dataclass(frozen=True)
class Stack:
    """A subject's slices in the model's frame: axes (w, h, k) grow to `definition.axes`, such as 'LPS'.

    Attributes:
        images: float32 `[K, H, W]` in [0, 1], background 0.
        affine: float64 `[4, 4]`, (w, h, k, 1) to world RAS mm of the volume.
        intensity_low: intensity of the volume that became 0.
        intensity_high: intensity of the volume that became 1.
        path: the file it came from.
        slice_thickness: of the volume's voxels along its slice axis, mm.
    """

    images: np.ndarray
    affine: np.ndarray
    intensity_low: float
    intensity_high: float
    path: pathlib.Path
    slice_thickness: float


def extract_stack(volume: Volume, definition: DatasetDefinition, mask: np.ndarray | None = None) -> Stack:
    """Resamples a volume to the model's stack.

    The axes are permuted and flipped to the nearest of those of the definition; an oblique volume keeps its own axes,
    and the affine their directions. Each axis that gets coarser is smoothed first, by a Gaussian of half the excess of
    the target spacing, then one linear interpolation leads straight from the source to the target grid.

    Args:
        volume: the volume as read from its file.
        definition: the grid and the intensity scale.
        mask: bool, of the shape of the volume: what is outside becomes background. None for everything.

    Returns:
        The Stack.

    Raises:
        UserError: if the volume has a single voxel along an axis, or intensities that `intensity_range` refuses.
    """
    _check_whole(volume)
    low, high = intensity_range([volume.data], [mask], definition, volume.path)
    data = volume.data if mask is None else np.where(mask, volume.data, np.float32(low))
    data, affine = orient(data, volume.affine, definition.axes)
    grid = stack_grid(data.shape, affine, definition)
    steps, offset, size = np.diag(grid)[:3], grid[:3, 3], definition.image_size
    sigmas = np.maximum(0.0, (steps - 1) / 2)
    data, offset = _crop(data, offset, steps, (size, size, definition.num_slices), sigmas)
    # Scaled first, so that outliers cannot bleed into their neighbours.
    scaled = ((data - np.float32(low)) / np.float32(high - low)).transpose(2, 1, 0)
    np.clip(scaled, 0, 1, out=scaled)
    scaled = ndimage.gaussian_filter(scaled, sigmas[::-1], mode='constant')
    images = ndimage.affine_transform(
        scaled,
        steps[::-1],
        offset=offset[::-1],
        output_shape=(definition.num_slices, size, size),
        order=1,
        mode='grid-constant',
    )
    thickness = float(nibabel.affines.voxel_sizes(affine)[2])
    return Stack(np.clip(images, 0, 1), affine @ grid, low, high, volume.path, thickness)


def stack_affine(volume: Volume, definition: DatasetDefinition) -> np.ndarray:
    """Returns the affine `[4, 4]` of the stack that `extract_stack` makes of a volume, (w, h, k, 1) to world mm."""
    _check_whole(volume)
    data, affine = orient(volume.data, volume.affine, definition.axes)
    return affine @ stack_grid(data.shape, affine, definition)


def stack_grid(shape: tuple[int, ...], affine: np.ndarray, definition: DatasetDefinition) -> np.ndarray:
    """Returns the grid of the stack in the voxels of a volume whose axes grow as the stack's.

    Args:
        shape: size of the volume along columns, rows and slices.
        affine: `[4, 4]`, its voxel indices to world mm.
        definition: field of view, number of slices and their share of the volume.

    Returns:
        `[4, 4]`, diagonal but for the offset: (w, h, k, 1) to voxel indices. The stack's centre is the volume's centre.
    """
    shape = np.array(shape, dtype=np.float64)
    spacing = nibabel.affines.voxel_sizes(affine)
    depth = definition.stack_share * shape[2] / definition.num_slices
    steps = np.array([definition.pixel_spacing / spacing[0], definition.pixel_spacing / spacing[1], depth])
    size = np.array([definition.image_size, definition.image_size, definition.num_slices])
    return nibabel.affines.from_matvec(np.diag(steps), (shape - 1) / 2 - steps * (size - 1) / 2)


def _check_whole(volume: Volume) -> None:
    """Raises a UserError if a volume has a single voxel along an axis."""
    if min(volume.data.shape) < 2:
        size = ' x '.join(str(length) for length in volume.data.shape)
        raise UserError(f'{volume.path}: is a single slice ({size}); give a whole volume.')


def _crop(data, offset, steps, sizes, sigmas) -> tuple[np.ndarray, np.ndarray]:
    """Returns the part of a volume that the stack, once smoothed, is made of, and the stack's offset in it."""
    # SciPy cuts its Gaussian at four standard deviations; one voxel more is for the interpolation.
    reach = np.ceil(4 * sigmas) + 1
    first = np.clip(np.floor(offset - reach), 0, data.shape).astype(int)
    last = offset + steps * (np.array(sizes) - 1)
    last = np.clip(np.ceil(last + reach) + 1, 1, data.shape).astype(int)
    part = tuple(slice(begin, end) for begin, end in zip(first, last, strict=True))
    return data[part], offset - first
