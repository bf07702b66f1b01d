"""The Gaussian average of slices: each spread into the volume by its point spread function."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tfp_bruno.motion.protocol import SIGMA_PER_FWHM
from tfp_bruno.motion.slices import SliceStack, Transforms

# Full width at half maximum in the plane, in pixels (Kuklisova-Murgasova et al. 2012, section 2.1).
IN_PLANE_FWHM = 1.2
# Standard deviations across the slice beyond which its weight is 0, and the least weight of a voxel that is filled.
REACH, LEAST_WEIGHT = 3.0, 1e-3


def gaussian_average(
    stacks: Sequence[SliceStack],
    transforms: Transforms,
    shape: tuple[int, int, int],
    affine: np.ndarray,
    is_used: Sequence[np.ndarray] | None = None,
    width: float = 1.0,
    within_masks: bool = True,
) -> np.ndarray:
    """Averages slices at the voxels of a grid, weighted by their point spread functions.

    The point spread function is a Gaussian: across the slice its full width at half maximum is by default the
    thickness, or the spacing of the slices if that is larger, in the plane 1.2 pixels (compare Kuklisova-Murgasova et
    al. 2012, Reconstruction of fetal brain MRI with intensity matching and complete outlier removal). With transforms
    that are the identity, the average is the baseline of Hou et al. 2019, section 3.3.

    Args:
        stacks: The stacks.
        transforms: From the world of the scanner to that of the volume, `[N, 4, 4]` for each stack.
        shape: Of the volume.
        affine: Of the volume, voxel indices to world mm, `[4, 4]`.
        is_used: bool `[N]` for each stack; None for all slices.
        width: Full width at half maximum across the slice, as a multiple of the default. The slices are blurred by
            their profile already; a smaller width blurs less a second time.
        within_masks: Whether what a slice shows outside its mask counts as 0. Without masks, whatever surrounds the
            anatomy, and the noise there, is averaged too, as in a reconstruction before the anatomy is segmented.

    Returns:
        float32 `shape`; 0 where no slice reaches.
    """
    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for number, (stack, own) in enumerate(zip(stacks, transforms, strict=True)):
        data = np.where(stack.mask, stack.data, np.float32(0)) if within_masks else stack.data
        images = ndimage.gaussian_filter(data, (*2 * (IN_PLANE_FWHM * SIGMA_PER_FWHM,), 0), mode='constant')
        for index, transform in enumerate(own):
            if is_used is None or is_used[number][index]:
                to_slice = np.linalg.inv(transform @ stack.slice_affine(index)) @ affine
                sigma = SIGMA_PER_FWHM * width * max(stack.thickness / stack.spacing[2], 1.0)
                _spread(images[:, :, index], to_slice, sigma, total, weight)
    return np.where(weight > LEAST_WEIGHT, total / np.maximum(weight, LEAST_WEIGHT), np.float32(0))


def _spread(image: np.ndarray, to_slice: np.ndarray, sigma: float, total: np.ndarray, weight: np.ndarray) -> None:
    """Adds a slice [W, H] to the weighted sum and the weights of a volume [X, Y, Z].

    Args:
        image: Already smoothed in its plane.
        to_slice: From voxels of the volume to pixels of the slice; the third coordinate is the distance from its plane.
        sigma: Standard deviation of the weight over that distance.
        total: Weighted sum, changed in place.
        weight: Weights, changed in place.
    """
    index, distance = _near(to_slice[2].astype(np.float32), total.shape, REACH * sigma)
    pixels = to_slice[:2].astype(np.float32) @ np.stack([*index, np.ones_like(distance)])
    size = np.array(image.shape, np.float32)[:, None]
    inside = ((pixels >= 0) & (pixels <= size - 1)).all(axis=0)
    index = tuple(coordinate[inside] for coordinate in index)
    own = np.exp(-0.5 * (distance[inside] / np.float32(sigma)) ** 2)
    total[index] += own * ndimage.map_coordinates(image, pixels[:, inside], order=1)
    weight[index] += own


def _near(row: np.ndarray, shape: tuple[int, ...], reach: float) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Returns the voxels within a distance of a plane, and their signed distances.

    Args:
        row: The distance of voxel (x, y, z) is row @ (x, y, z, 1).
        shape: Of the volume.
        reach: Largest distance.

    Returns:
        Three integer arrays [V], and float32 [V].
    """
    # Along the axis that is the steepest, the plane meets each column of voxels in a few layers.
    steep = int(np.argmax(np.abs(row[:3])))
    first, second = (axis for axis in range(3) if axis != steep)
    start = (row[first] * np.arange(shape[first]) + row[3])[:, None] + row[second] * np.arange(shape[second])
    reach_voxels = reach / abs(row[steep])
    lowest = np.ceil(-start / row[steep] - reach_voxels).astype(np.intp)
    layers = lowest[..., None] + np.arange(int(2 * reach_voxels) + 1)
    distance = start[..., None] + row[steep] * layers
    a, b, c = np.nonzero((layers >= 0) & (layers < shape[steep]) & (np.abs(distance) <= reach))
    index = [a, a, a]
    index[first], index[second], index[steep] = a, b, layers[a, b, c]
    return tuple(index), distance[a, b, c].astype(np.float32)
