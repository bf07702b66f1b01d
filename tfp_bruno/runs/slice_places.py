"""Poses of a subject's slices in the canonical volume, from the subject's map."""

import numpy as np

from tfp_bruno.networks.pose_vectors import displaced_pose, plane_matrix
from tfp_bruno.registration import CanonicalSpace, SubjectMap


def slice_poses(space: CanonicalSpace, subject: SubjectMap, slices: np.ndarray, control_size: int) -> np.ndarray:
    """Returns the poses of slices of a stack, see `networks.DisplacedGrid`.

    Args:
        space: The canonical space.
        subject: Map of the subject.
        slices: `[n]`, positions in the stack.
        control_size: Number of control points along each side of a slice.

    Returns:
        float32 `[n, 12 + 3 control_size^2]`.
    """
    height, width = space.basis.shape[1:]
    planes = [plane_matrix(position, (height, width)) for position in slices]
    return plane_poses(space, subject, np.reshape(planes, [-1, 3, 4]), control_size)


def plane_poses(space: CanonicalSpace, subject: SubjectMap, planes: np.ndarray, control_size: int) -> np.ndarray:
    """Returns the poses of slices in any plane of a subject's stack, see `networks.DisplacedGrid`.

    Args:
        space: The canonical space.
        subject: Map of the subject.
        planes: `[n, 3, 4]`, see `networks.affine_pose`, in voxels of the stack.
        control_size: Number of control points along each side of a slice.

    Returns:
        float32 `[n, 12 + 3 control_size^2]`.
    """
    scale = space.frame.size / subject.frame.size
    matrices = planes * scale[:, np.newaxis]
    matrices[..., 3] += space.frame.place - subject.frame.place * scale
    down, right = (np.linspace(-0.5, 0.5, control_size) * (size - 1) for size in space.basis.shape[1:])
    control = np.stack(np.broadcast_arrays(down[:, np.newaxis], right, 0.0, 1.0))
    points = np.einsum('nxk,krs->xnrs', matrices, control)
    return displaced_pose(matrices, np.moveaxis(space.displacement_at(subject, points), 1, 0))
