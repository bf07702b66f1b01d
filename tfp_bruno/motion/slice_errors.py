"""Errors of the slices' transforms against the true motion."""

import dataclasses
from collections.abc import Sequence

import nibabel
import numpy as np

from tfp_bruno.motion.rigid import fit_rigid, rotation_degrees
from tfp_bruno.motion.slices import SliceStack, Transforms

_OFFSET_STEPS = 30
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])


@dataclasses.dataclass(frozen=True)
class SliceErrors:
    """Errors of slices, one number for each of those that count.

    Attributes:
        distances: Target registration error, mm: mean distance, over the pixels of the slice inside the mask, between
            where the transform and where the truth places them.
        angles: Rotation between the two, degrees.
    """

    distances: np.ndarray
    angles: np.ndarray

    def summary(self) -> dict[str, float]:
        """Returns the medians, and the shares of slices within 2 and 5 mm; NaN without slices."""
        if not self.distances.size:
            return dict.fromkeys(('median_mm', 'median_degrees', 'share_2mm', 'share_5mm'), np.nan)
        return {
            'median_mm': float(np.median(self.distances)),
            'median_degrees': float(np.median(self.angles)),
            'share_2mm': float(np.mean(self.distances <= 2.0)),
            'share_5mm': float(np.mean(self.distances <= 5.0)),
        }


def common_offset(
    stacks: Sequence[SliceStack], truth: Transforms, found: Transforms, is_used: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns the rigid transform of the volume that brings the found slices nearest to the true ones.

    A reconstruction is as good anywhere: if all slices are displaced together, they still agree with each other. The
    transform has the least sum of distances, not of squares, so slices that failed do not decide it (iteratively
    reweighted least squares).

    Args:
        stacks: The stacks.
        truth: True transforms, `[N, 4, 4]` for each stack.
        found: Found transforms, likewise.
        is_used: Slices that count, bool `[N]` for each stack.

    Returns:
        float64 `[4, 4]`, from where found transforms place a slice to where it truly lies; the identity if no slice
        counts.
    """
    source, target = (_corner_points(stacks, transforms, is_used) for transforms in (found, truth))
    if not len(source):
        return np.eye(4)
    weights = np.ones(len(source))
    for _ in range(_OFFSET_STEPS):
        offset = fit_rigid(source, target, weights)
        distances = np.linalg.norm(nibabel.affines.apply_affine(offset, source) - target, axis=1)
        weights = 1.0 / np.maximum(distances, 0.1)
    return offset


def slice_errors(
    stacks: Sequence[SliceStack], truth: Transforms, found: Transforms, is_used: Sequence[np.ndarray]
) -> SliceErrors:
    """Compares transforms with the true ones, after `common_offset` is taken from all of them.

    Without that, a start volume that lies as the anatomy did during one batch would be blamed for the motion of this
    batch, and one that averages all batches would not.

    Args:
        stacks: The stacks.
        truth: True transforms, `[N, 4, 4]` for each stack.
        found: Found transforms, likewise.
        is_used: Slices that count, bool `[N]` for each stack; each shows some of the mask.

    Returns:
        The errors of the slices that count, in their order.
    """
    offset = common_offset(stacks, truth, found, is_used)
    distances, angles = [], []
    for stack, true, own, used in zip(stacks, truth, found, is_used, strict=True):
        for index in np.flatnonzero(used).tolist():
            points = stack.mask_points(index)
            moved = nibabel.affines.apply_affine(offset @ own[index], points)
            distances.append(np.linalg.norm(moved - nibabel.affines.apply_affine(true[index], points), axis=1).mean())
            angles.append(rotation_degrees(offset @ own[index] @ np.linalg.inv(true[index])))
    return SliceErrors(np.array(distances), np.array(angles))


def _corner_points(stacks: Sequence[SliceStack], transforms: Transforms, is_used: Sequence[np.ndarray]) -> np.ndarray:
    """Returns where the corners of the mask's box in each slice lie in the volume, world points [P, 3]."""
    points = [np.zeros((0, 3))]
    for stack, own, used in zip(stacks, transforms, is_used, strict=True):
        for index in np.flatnonzero(used).tolist():
            pixels = np.argwhere(stack.mask[:, :, index])
            low, high = pixels.min(axis=0), pixels.max(axis=0)
            corners = np.array([*low, 0]) + _CORNERS * np.array([*(high - low), 0])
            points.append(nibabel.affines.apply_affine(own[index] @ stack.slice_affine(index), corners))
    return np.concatenate(points)
