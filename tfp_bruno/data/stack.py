"""From a volume to the model's stack of slices, and the affine that leads back to the world."""

import dataclasses
import pathlib

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.nifti import Volume
from tfp_bruno.errors import UserError


@dataclasses.dataclass(frozen=True)
class Stack:
    """A subject's slices in the model's frame: w grows to the left, h to posterior, k to superior.

    Attributes:
        images: float32 `[K, H, W]` in [0, 1], background 0.
        affine: float64 `[4, 4]`, (w, h, k, 1) to world RAS mm of the volume.
        intensity_low: intensity of the volume that became 0.
        intensity_high: intensity of the volume that became 1.
        path: the file it came from.
    """

    images: np.ndarray
    affine: np.ndarray
    intensity_low: float
    intensity_high: float
    path: pathlib.Path


def extract_stack(volume: Volume, definition: DatasetDefinition) -> Stack:
    """Resamples a volume to the model's stack.

    The axes are permuted and flipped to the nearest of left, posterior and superior; an oblique volume keeps its own
    axes, and the affine their directions. Each axis that gets coarser is smoothed first, by a Gaussian of half the
    excess of the target spacing, then one linear interpolation leads straight from the source to the target grid.

    Args:
        volume: the volume as read from its file.
        definition: the grid and the intensity scale.

    Returns:
        The Stack.

    Raises:
        UserError: if the volume has a single voxel along an axis, or no positive intensity to scale by.
    """
    if min(volume.data.shape) < 2:
        size = ' x '.join(str(length) for length in volume.data.shape)
        raise UserError(f'{volume.path}: is a single slice ({size}); give a whole volume.')
    data, affine = orient_to_lps(volume.data, volume.affine)
    low, high = intensity_range(data, definition, volume.path)
    grid = stack_grid(data.shape, affine, definition)
    # Scaled first, so that outliers cannot bleed into their neighbours.
    scaled = np.clip((data - np.float32(low)) / np.float32(high - low), 0, 1).transpose(2, 1, 0)
    steps = np.diag(grid)[:3][::-1]
    scaled = ndimage.gaussian_filter(scaled, np.maximum(0.0, (steps - 1) / 2), mode='constant')
    size = definition.image_size
    images = ndimage.affine_transform(
        scaled,
        steps,
        offset=grid[:3, 3][::-1],
        output_shape=(definition.num_slices, size, size),
        order=1,
        mode='grid-constant',
    )
    return Stack(np.clip(images, 0, 1), affine @ grid, low, high, volume.path)


def orient_to_lps(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permutes and flips the axes of a volume so that they grow nearest to left, posterior and superior.

    Args:
        data: `[X, Y, Z]`.
        affine: `[4, 4]`, voxel indices to world RAS mm.

    Returns:
        The data as a view, and the affine of its new axes: every voxel stays where it was in the world.
    """
    here = nibabel.orientations.io_orientation(affine)
    change = nibabel.orientations.ornt_transform(here, nibabel.orientations.axcodes2ornt(('L', 'P', 'S')))
    back = nibabel.orientations.inv_ornt_aff(change, data.shape)
    return nibabel.orientations.apply_orientation(data, change), affine @ back


def stack_grid(shape: tuple[int, ...], affine: np.ndarray, definition: DatasetDefinition) -> np.ndarray:
    """Returns the grid of the stack in the voxels of a volume whose axes grow to left, posterior and superior.

    Args:
        shape: size of the volume along left, posterior and superior.
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


def intensity_range(data: np.ndarray, definition: DatasetDefinition, path: pathlib.Path) -> tuple[float, float]:
    """Returns the intensities of a volume that become 0 and 1.

    Args:
        data: the voxels.
        definition: its window, or its percentile of the non-zero voxels.
        path: the file, for the error.

    Returns:
        (low, high) with low < high.

    Raises:
        UserError: if the percentile is not positive, or no voxel rises above the window's lower end.
    """
    if definition.window is not None:
        low, high = definition.window
        if data.max() <= low:
            raise UserError(
                f'{path}: no voxel is above {low:g}; {definition.name} volumes must be in Hounsfield units.'
            )
        return low, high
    high = float(np.percentile(data[data != 0], definition.percentile))
    if high <= 0:
        raise UserError(f'{path}: has no positive intensities to scale by; shift them so that the background is 0.')
    return 0.0, high
