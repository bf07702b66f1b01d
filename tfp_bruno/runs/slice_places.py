"""Poses of a subject's slices in the canonical volume, from the subject's map."""

import numpy as np

from tfp_bruno.networks.pose_vectors import displaced_pose
from tfp_bruno.registration import CanonicalSpace, SubjectMap

__all__ = ['slice_poses']


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
    sizes = space.basis.shape[1:]
    centres = [(size - 1) / 2 for size in sizes]
    depth = subject.frame.to(space.frame, np.asarray(slices, float), 0)
    matrices = np.zeros([len(depth), 3, 4])
    steps = space.frame.size / subject.frame.size
    matrices[:, [1, 2, 0], [0, 1, 2]] = steps[[1, 2, 0]]
    matrices[:, 0, 3] = depth
    for axis, centre in enumerate(centres, 1):
        matrices[:, axis, 3] = subject.frame.to(space.frame, np.array(centre), axis)
    control = [np.linspace(0, size - 1, control_size) for size in sizes]
    points = space.start(subject, (np.asarray(slices, float), *control))
    return displaced_pose(matrices, np.moveaxis(space.displacement(subject, points), 1, 0))
