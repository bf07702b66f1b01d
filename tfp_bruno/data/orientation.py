"""Reorienting a volume: its axes are permuted and flipped to the nearest anatomical directions, never mirrored."""

import itertools

import nibabel
import numpy as np

# Directions in the RAS world.
_DIRECTIONS = {
    'L': (-1, 0, 0),
    'R': (1, 0, 0),
    'P': (0, -1, 0),
    'A': (0, 1, 0),
    'I': (0, 0, -1),
    'S': (0, 0, 1),
}


def orient(data: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Permutes and flips the axes of a volume to the nearest anatomical directions.

    Args:
        data: Voxels `[X, Y, Z]`.
        affine: Voxel indices to world RAS mm, `[4, 4]`.
        codes: Directions of the new axes, such as 'LPS'.

    Returns:
        A view of the data, and the affine of its new axes: the world position of every voxel is unchanged.
    """
    change = nearest_orientation(affine, codes)
    back = nibabel.orientations.inv_ornt_aff(change, data.shape)
    return nibabel.orientations.apply_orientation(data, change), affine @ back


def nearest_orientation(affine: np.ndarray, codes: str) -> np.ndarray:
    """Returns the permutation and flips that bring the axes of a volume nearest to anatomical directions.

    Only those of the 48 orientations that keep the handedness of the directions are compared. A volume rotated by any
    angle is therefore never mirrored, which `nibabel.io_orientation` does not guarantee for large angles.

    Args:
        affine: Voxel indices to world RAS mm, `[4, 4]`.
        codes: Directions of the new axes, such as 'LPS'.

    Returns:
        The new axis and the flip of every axis of the volume, `[3, 2]`, an orientation in the sense of nibabel.

    Raises:
        ValueError: If the axes of the affine span no volume.
    """
    wanted = np.array([_DIRECTIONS[code] for code in codes], dtype=np.float64).T
    directions = affine[:3, :3] / nibabel.affines.voxel_sizes(affine)
    agreement = directions.T @ wanted
    handedness = np.sign(np.linalg.det(directions) * np.linalg.det(wanted))
    best, chosen = -np.inf, None
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1.0, -1.0), repeat=3):
            # Handedness of the permutation and its flips together.
            sign = np.linalg.det(np.eye(3)[list(axes)]) * np.prod(flips)
            score = sum(
                flip * agreement[source, axis] for source, (axis, flip) in enumerate(zip(axes, flips, strict=True))
            )
            if sign * handedness > 0 and score > best + 1e-9:
                best, chosen = score, np.array([axes, flips]).T
    if chosen is None:
        raise ValueError(f'`affine`: its axes span no volume, {affine[:3, :3].tolist()}')
    return chosen
