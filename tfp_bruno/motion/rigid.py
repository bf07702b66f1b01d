"""Rigid transforms of the world: 4 x 4 matrices that map RAS millimetres to RAS millimetres."""

import nibabel
import numpy as np
from scipy.spatial.transform import Rotation

# From RAS to LPS and back: the world of ITK.
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rigid_matrix(angles: np.ndarray, translation: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Returns x -> R (x - centre) + centre + translation, where R turns about the fixed axes x, then y, then z.

    Args:
        angles: Degrees, `[..., 3]`.
        translation: mm, `[..., 3]`.
        centre: World point that R leaves in place, `[3]`.

    Returns:
        float64 `[..., 4, 4]`.
    """
    angles, translation = np.asarray(angles, np.float64), np.asarray(translation, np.float64)
    rotation = Rotation.from_euler('xyz', angles.reshape(-1, 3), degrees=True).as_matrix()
    rotation = rotation.reshape(*angles.shape[:-1], 3, 3)
    matrices = np.zeros((*angles.shape[:-1], 4, 4))
    matrices[..., :3, :3] = rotation
    matrices[..., :3, 3] = centre + translation - rotation @ np.asarray(centre, np.float64)
    matrices[..., 3, 3] = 1.0
    return matrices


def rotation_degrees(matrices: np.ndarray) -> np.ndarray:
    """Returns the angle, 0 to 180 degrees, by which each of the rigid matrices `[..., 4, 4]` rotates."""
    matrices = np.asarray(matrices)
    angles = Rotation.from_matrix(matrices[..., :3, :3].reshape(-1, 3, 3)).magnitude()
    return np.degrees(angles).reshape(matrices.shape[:-2])


def fit_rigid(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Fits the rigid transform with the least weighted squared distance (Kabsch 1976).

    Args:
        source: World points, `[P, 3]`, not all on one line.
        target: Where each should lie, `[P, 3]`.
        weights: Not negative, `[P]`; None for equal weights.

    Returns:
        float64 `[4, 4]` from source to target.
    """
    middle_source, middle_target = (np.average(points, axis=0, weights=weights) for points in (source, target))
    rotation, _ = Rotation.align_vectors(target - middle_target, source - middle_source, weights=weights)
    matrix = rotation.as_matrix()
    return nibabel.affines.from_matvec(matrix, middle_target - matrix @ middle_source)
