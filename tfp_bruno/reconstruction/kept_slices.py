"""The slices that were given, put back into a completed volume as they were."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tfp_bruno.data import Volume
from tfp_bruno.reconstruction.output_grid import OutputGrid

# In voxels: coordinates that are whole but for rounding read a voxel itself, not a mixture.
ROUNDING = 4


@dataclasses.dataclass(frozen=True)
class KeptSlices:
    """The voxels of a grid that lie on a given slice.

    Attributes:
        index: of the voxels, as NumPy indexes a volume: three integer arrays `[V]`.
        values: float32 `[V]`, the intensities of the slices there.
    """

    index: tuple[np.ndarray, np.ndarray, np.ndarray]
    values: np.ndarray


def find_kept_slices(given: Sequence[Volume], grid: OutputGrid, to_scan: np.ndarray) -> KeptSlices:
    """Finds the voxels of a grid that lie on given slices: one layer for each.

    Args:
        given: the slices, each a volume with one voxel along one axis; a later one wins.
        grid: the grid.
        to_scan: `[4, 4]`, from the world of the grid to that of the slices.

    Returns:
        The KeptSlices. Where a voxel lies on a voxel of the slice it has its intensity, elsewhere a linear mixture
        within the plane.
    """
    found: dict[str, list[np.ndarray]] = {'index': [], 'values': []}
    for volume in given:
        axis = volume.data.shape.index(1)
        to_slice = np.linalg.inv(volume.affine) @ to_scan @ grid.affine
        # Distance from the plane in output voxels.
        across = to_slice[axis] / np.linalg.norm(to_slice[axis, :3])
        x, y, z = (np.arange(length, dtype=np.float64) for length in grid.shape)
        distance = np.round(across[0] * x[:, None, None] + across[1] * y[:, None] + across[2] * z + across[3], ROUNDING)
        index = np.array(np.nonzero((distance > -0.5) & (distance <= 0.5)))
        plane = [a for a in range(3) if a != axis]
        voxels = np.round(to_slice[plane, :3] @ index + to_slice[plane, 3:], ROUNDING)
        lengths = np.array([volume.data.shape[a] for a in plane])[:, None]
        inside = ((voxels >= 0) & (voxels <= lengths - 1)).all(axis=0)
        image = np.squeeze(volume.data, axis)
        found['index'].append(index[:, inside])
        found['values'].append(ndimage.map_coordinates(image, voxels[:, inside], order=1))
    index = np.concatenate([np.zeros((3, 0), int), *found['index']], axis=1)
    values = np.concatenate([np.zeros(0, np.float32), *found['values']]).astype(np.float32)
    return KeptSlices(tuple(index), values)
