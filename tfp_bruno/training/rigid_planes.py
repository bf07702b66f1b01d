"""Slices of a volume in random planes, of any direction."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

_FOREGROUND = 0.02


def draw_planes(volume: np.ndarray, voxel_size: Sequence[float], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws planes through the foreground, of uniformly random rotation.

    Each passes through a random voxel of the foreground; its centre is the point nearest to the centre of the
    foreground. Pixels and thickness have the sizes in mm of those of the volume's own slices.

    Args:
        volume: `[K, H, W]`; without foreground, all its voxels count as such.
        voxel_size: Sides of a voxel along (K, H, W), mm.
        count: Number of planes, n.
        rng: Source of the random numbers.

    Returns:
        `[n, 3, 4]`, see `networks.affine_pose`, in voxels of the volume.
    """
    sides = np.asarray(voxel_size, float)
    foreground = volume > _FOREGROUND
    voxels = sides * np.argwhere(foreground if foreground.any() else np.ones(volume.shape, bool))
    # Rows, columns and normal of a slice of the volume are the axes 1, 2 and 0.
    axes = Rotation.random(count, rng).as_matrix()[:, :, [1, 2, 0]]
    normals, centre = axes[..., 2], voxels.mean(axis=0)
    through = voxels[rng.integers(len(voxels), size=count)]
    distances = np.sum((through - centre) * normals, axis=-1, keepdims=True)
    steps = axes * sides[[1, 2, 0]]
    return np.concatenate([steps, (centre + distances * normals)[..., np.newaxis]], axis=-1) / sides[:, np.newaxis]


def sample_planes(volume: np.ndarray, planes: np.ndarray, offsets: Sequence[float] = (0.0,)) -> np.ndarray:
    """Returns the slices of a volume in planes, by trilinear interpolation; 0 outside the volume.

    Args:
        volume: `[K, H, W]`.
        planes: `[n, 3, 4]`, see `networks.affine_pose`, in voxels of the volume.
        offsets: Positions of the parallel planes whose mean is a slice, in units of its thickness.

    Returns:
        float32 `[n, H, W]`.
    """
    down, right = (np.arange(size) - (size - 1) / 2 for size in volume.shape[1:])
    slices = []
    for offset in offsets:
        pixels = np.stack(np.broadcast_arrays(down[:, np.newaxis], right, offset, 1.0))
        points = np.einsum('nxk,krs->xnrs', planes, pixels)
        slices.append(ndimage.map_coordinates(volume, points, np.float32, order=1, mode='constant'))
    return np.mean(slices, axis=0)
