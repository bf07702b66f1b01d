"""Writes simulated stacks with their true motion, in the files of several tools."""

import pathlib

import nibabel
import numpy as np

from tfp_bruno.data import write_volume
from tfp_bruno.motion.interchange import write_dof, write_itk_transform, write_motion_table, write_slices
from tfp_bruno.motion.rigid import fit_rigid
from tfp_bruno.motion.simulation import SimulatedStacks
from tfp_bruno.motion.slices import SliceStack


def write_simulation(folder: pathlib.Path, simulated: SimulatedStacks) -> None:
    """Writes stacks, masks and true motion.

    Args:
        folder: Holds afterwards, for a stack `axial`: `stacks/axial.nii.gz` and `stacks/axial_mask.nii.gz` as the
            scanner would give them; `motion.tsv` (see `write_motion_table`); `slices/` and `slice_masks/`, every slice
            where it truly lies (see `write_slices`); `svrtk/transformation0.dof` and so on, the true transforms of the
            slices of all stacks in order, and `svrtk/axial.dof`, the mean motion of the stack for `-dofin`;
            `niftymic/axial_slice0.tfm` and so on.
        simulated: The stacks.
    """
    number = 0
    for stack, transforms in zip(simulated.stacks, simulated.transforms, strict=True):
        write_volume(folder / 'stacks' / f'{stack.name}.nii.gz', stack.data, stack.affine)
        write_volume(folder / 'stacks' / f'{stack.name}_mask.nii.gz', stack.mask.astype(np.uint8), stack.affine)
        # The other direction than for slices: SVRTK inverts it when it reads the file.
        write_dof(folder / 'svrtk' / f'{stack.name}.dof', np.linalg.inv(mean_transform(stack, transforms)))
        for index, transform in enumerate(transforms):
            write_dof(folder / 'svrtk' / f'transformation{number}.dof', transform)
            write_itk_transform(folder / 'niftymic' / f'{stack.name}_slice{index}.tfm', transform)
            number += 1
    write_slices(folder / 'slices', folder / 'slice_masks', simulated.stacks, simulated.transforms)
    write_motion_table(folder / 'motion.tsv', simulated.stacks, simulated.transforms)


def mean_transform(stack: SliceStack, transforms: np.ndarray) -> np.ndarray:
    """Returns the one rigid transform `[4, 4]` for a stack that fits those of its slices best, by least squares.

    Args:
        stack: The stack.
        transforms: Of its slices, `[N, 4, 4]`.
    """
    points = [stack.mask_points(index)[::50] for index in range(stack.num_slices)]
    source = np.concatenate(points)
    moved = [nibabel.affines.apply_affine(own, each) for own, each in zip(transforms, points, strict=True)]
    return fit_rigid(source, np.concatenate(moved))
