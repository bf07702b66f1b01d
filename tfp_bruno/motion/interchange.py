"""Transforms and slices in the files of other tools for slice-to-volume reconstruction.

All transforms map the world of the scanner to that of the volume, unless a function says otherwise.
"""

import os
import pathlib
import struct
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from tfp_bruno.data import atomic, write_volume
from tfp_bruno.errors import UserError
from tfp_bruno.motion.rigid import LPS
from tfp_bruno.motion.slices import SliceStack, Transforms, moved_affines

# The header of a rigid transform in a .dof file of MIRTK, which is big-endian.
_DOF_HEADER = struct.Struct('>III')
_DOF_MAGIC, _DOF_RIGID, _DOF_NUMBERS = 815007, 2, struct.Struct('>6d')
_ENTRIES = [f'{row}{column}' for row in (1, 2, 3) for column in (1, 2, 3, 4)]
_COLUMNS = ['stack', 'slice', 'batch', *(f't{entry}' for entry in _ENTRIES), *(f'a{entry}' for entry in _ENTRIES)]


def write_dof(path: str | os.PathLike, matrix: np.ndarray) -> None:
    """Writes a rigid transform for MIRTK and SVRTK.

    SVRTK reads the transforms of slices from the folder that `-transformations` names (`transformation0.dof` and so on,
    the slices of all stacks in order), and that of a whole stack from `-dofin`, in the other direction: from the
    template to the stack.

    Args:
        path: File ending in `.dof`.
        matrix: `[4, 4]`, RAS mm, rigid.
    """
    # MIRTK's rotation with angles a, b, c is the inverse of that about the fixed axes x, y, z.
    angles = Rotation.from_matrix(matrix[:3, :3]).inv().as_euler('xyz', degrees=True)
    numbers = _DOF_NUMBERS.pack(*matrix[:3, 3], *angles)
    atomic.write_bytes(path, _DOF_HEADER.pack(_DOF_MAGIC, _DOF_RIGID, 6) + numbers)


def read_dof(path: str | os.PathLike) -> np.ndarray:
    """Reads a rigid transform of MIRTK.

    Args:
        path: A `.dof` file.

    Returns:
        float64 `[4, 4]`, RAS mm.

    Raises:
        UserError: If it cannot be read or is not a rigid transform.
    """
    content = _read(path)
    header = _DOF_HEADER.pack(_DOF_MAGIC, _DOF_RIGID, 6)
    if len(content) != len(header) + _DOF_NUMBERS.size or not content.startswith(header):
        raise UserError(f'{path}: is not a rigid transform of MIRTK; convert it with mirtk convert-dof.')
    numbers = _DOF_NUMBERS.unpack(content[len(header) :])
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', numbers[3:], degrees=True).inv().as_matrix()
    matrix[:3, 3] = numbers[:3]
    return matrix


def write_itk_transform(path: str | os.PathLike, matrix: np.ndarray) -> None:
    """Writes a rigid transform as ITK, SimpleITK and NiftyMIC read it: an Euler3DTransform, LPS mm.

    NiftyMIC reads the transforms of slices from the folder of `--dir-input-mc`: `STACK_slice0.tfm` and so on.

    Args:
        path: File ending in `.tfm`.
        matrix: `[4, 4]`, RAS mm, rigid.
    """
    moved = LPS @ matrix @ LPS
    z, x, y = Rotation.from_matrix(moved[:3, :3]).as_euler('ZXY')
    numbers = ' '.join(repr(float(number)) for number in (x, y, z, *moved[:3, 3]))
    atomic.write_text(
        path,
        '#Insight Transform File V1.0\n#Transform 0\nTransform: Euler3DTransform_double_3_3\n'
        f'Parameters: {numbers}\nFixedParameters: 0 0 0 0\n',
    )


def write_slices(
    folder: pathlib.Path, mask_folder: pathlib.Path, stacks: Sequence[SliceStack], transforms: Transforms
) -> None:
    """Writes every slice as a file of its own, where its transform places it in the world of the volume.

    `0.nii.gz` and so on, the slices of all stacks in order, is the folder of `nesvor --input-slices` and of
    `bin/reconstruct --slice_dir`. NeSVoR reads all images of that folder as slices, and takes what is above 0 as their
    masks: the slices are 0 outside the mask, and the masks have a folder of their own.

    Args:
        folder: Of the slices.
        mask_folder: Of the masks, of the same names.
        stacks: The stacks.
        transforms: Of their slices, `[N, 4, 4]` for each stack.
    """
    number = 0
    for stack, own in zip(stacks, transforms, strict=True):
        for index, affine in enumerate(moved_affines(stack, own)):
            mask = stack.mask[:, :, index : index + 1]
            data = np.where(mask, stack.data[:, :, index : index + 1], np.float32(0))
            write_volume(folder / f'{number}.nii.gz', data, affine)
            write_volume(mask_folder / f'{number}.nii.gz', mask.astype(np.uint8), affine)
            number += 1


def write_motion_table(path: str | os.PathLike, stacks: Sequence[SliceStack], transforms: Transforms) -> None:
    """Writes the transform and the affine of every slice.

    The columns are `stack`, `slice` (from 0) and `batch` (in order of time, from 0), then row by row the upper three
    rows of two matrices: `t11` to `t34`, the transform from the world of the scanner to that of the volume, RAS mm, and
    `a11` to `a34`, the affine of the slice in the world of the volume.

    Args:
        path: TSV file.
        stacks: The stacks.
        transforms: Of their slices, `[N, 4, 4]` for each stack.
    """
    lines = ['\t'.join(_COLUMNS)]
    for stack, own in zip(stacks, transforms, strict=True):
        for index, (transform, affine) in enumerate(zip(own, moved_affines(stack, own), strict=True)):
            numbers = [f'{number:.9g}' for matrix in (transform, affine) for number in matrix[:3].ravel()]
            lines.append('\t'.join([stack.name, str(index), str(stack.batches[index]), *numbers]))
    atomic.write_text(path, '\n'.join(lines) + '\n')


def read_motion_table(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the transforms of slices, by stack, from a file of `write_motion_table`.

    Args:
        path: TSV file.

    Returns:
        float64 `[N, 4, 4]` for each stack, in the order of its slices.

    Raises:
        UserError: If it cannot be read, or is not such a file.
    """
    rows: dict[str, list[np.ndarray]] = {}
    try:
        lines = [line.split('\t') for line in _read(path).decode('utf-8').splitlines()]
        if not lines or lines[0] != _COLUMNS:
            raise ValueError('other columns')
        for line in sorted(lines[1:], key=lambda each: int(each[1])):
            matrix = np.eye(4)
            matrix[:3] = np.array(line[3:15], np.float64).reshape(3, 4)
            rows.setdefault(line[0], []).append(matrix)
    except (ValueError, IndexError) as error:
        raise UserError(f'{path}: is not a table of motion ({error}); give the motion.tsv of a simulation.') from error
    return {name: np.stack(matrices) for name, matrices in rows.items()}


def _read(path: str | os.PathLike) -> bytes:
    """Returns the bytes of a file."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path.') from error
