"""The axes of a volume, turned to the anatomical directions that they lie nearest to; never mirrored."""

import itertools

import nibabel
import numpy as np

# World directions, RAS.
_DIRECTIONS = {
    'L': (-1, 0, 0),
    'R': (1, 0, 0),
    'P': (0, -1, 0),
    'A': (0, 1, 0),
    'I': (0, 0, -1),
    'S': (0, 0, 1),
}


def orient(data: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Permutes and flips the axes of a volume so that they grow nearest to three anatomical directions.

    Args:
        data: `[X, Y, Z]`.
        affine: `[4, 4]`, voxel indices to world RAS mm.
        codes: where the new axes grow to, such as 'LPS'.

    Returns:
        The data as a view, and the affine of its new axes: every voxel stays where it was in the world.
    """
    change = nearest_orientation(affine, codes)
    back = nibabel.orientations.inv_ornt_aff(change, data.shape)
    return nibabel.orientations.apply_orientation(data, change), affine @ back


def nearest_orientation(affine: np.ndarray, codes: str) -> np.ndarray:
    """Returns how axes have to be permuted and flipped to come nearest to three anatomical directions.

    Of the 48 ways, those that keep the handedness of the directions are compared: a volume turned by any angle is never
    mirrored, which `nibabel.io_orientation` does not promise far from the axes.

    Args:
        affine: `[4, 4]`, voxel indices to world RAS mm.
        codes: where the new axes shall grow to, such as 'LPS'.

    Returns:
        `[3, 2]`, as nibabel has it: the new axis and the flip of every axis of the volume.
    """
    wanted = np.array([_DIRECTIONS[code] for code in codes], dtype=np.float64).T
    directions = affine[:3, :3] / nibabel.affines.voxel_sizes(affine)
    agreement = directions.T @ wanted
    handedness = np.sign(np.linalg.det(directions) * np.linalg.det(wanted))
    best, chosen = -np.inf, None
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1.0, -1.0), repeat=3):
            # Of the permutation and its flips together.
            sign = np.linalg.det(np.eye(3)[list(axes)]) * np.prod(flips)
            score = sum(
                flip * agreement[source, axis] for source, (axis, flip) in enumerate(zip(axes, flips, strict=True))
            )
            if sign * handedness > 0 and score > best + 1e-9:
                best, chosen = score, np.array([axes, flips]).T
    if chosen is None:
        raise ValueError(f'affine: its axes span no volume, {affine[:3, :3].tolist()}')
    return chosen
