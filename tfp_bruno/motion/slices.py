"""Stacks of thick slices, and the transforms that place each slice in the volume."""

import dataclasses
from collections.abc import Sequence

import nibabel
import numpy as np

# One array [N, 4, 4] for each stack: from the world of the scanner to that of the volume, for each of the N slices.
Transforms = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class SliceStack:
    """A stack as it was acquired.

    Attributes:
        name: Of the stack, for messages and files.
        data: float32 `[X, Y, N]`, the slices along the last axis; finite.
        mask: bool, of the same shape; the anatomy.
        affine: Voxel indices to world RAS mm, float64 `[4, 4]`.
        thickness: Of a slice, mm.
        batches: Number of each slice's batch in order of time, `[N]`; slices of one batch are taken together.
    """

    name: str
    data: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    thickness: float
    batches: np.ndarray

    @property
    def num_slices(self) -> int:
        """Number of slices."""
        return self.data.shape[2]

    @property
    def spacing(self) -> np.ndarray:
        """Voxel sizes `[3]` in mm; the last is the distance of neighbouring slices."""
        return nibabel.affines.voxel_sizes(self.affine)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector `[3]` along the slices' axis."""
        return self.affine[:3, 2] / self.spacing[2]

    def slice_affine(self, index: int) -> np.ndarray:
        """Returns the affine `[4, 4]` of one slice as a volume of one voxel along its last axis."""
        affine = self.affine.copy()
        affine[:3, 3] += index * affine[:3, 2]
        return affine

    def mask_points(self, index: int) -> np.ndarray:
        """Returns the world points `[P, 3]` of the pixels of one slice inside the mask."""
        pixels = np.argwhere(self.mask[:, :, index])
        return nibabel.affines.apply_affine(self.slice_affine(index), np.insert(pixels, 2, 0, axis=1))


def identity_transforms(stacks: Sequence[SliceStack]) -> list[np.ndarray]:
    """Returns transforms that leave every slice where it was acquired."""
    return [np.tile(np.eye(4), (stack.num_slices, 1, 1)) for stack in stacks]


def moved_affines(stack: SliceStack, transforms: np.ndarray) -> np.ndarray:
    """Returns the affines `[N, 4, 4]` of the slices in the world of the volume."""
    return np.stack([transform @ stack.slice_affine(index) for index, transform in enumerate(transforms)])
