"""Files of other tools: against SimpleITK, MIRTK's formula and nibabel."""

import struct

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.errors import UserError
from tfp_bruno.motion import (
    MotionSettings,
    StackProtocol,
    moved_affines,
    read_dof,
    read_motion_table,
    simulate_stacks,
    write_dof,
    write_itk_transform,
    write_motion_table,
    write_simulation,
    write_slices,
)
from tfp_bruno.motion.rigid import rigid_matrix
from tfp_bruno.reconstruction.slice_folder import read_slice_folder

PROTOCOL = StackProtocol(thickness=4.0, spacing=12.0, pixel_spacing=2.0)
MATRIX = rigid_matrix(np.array([10.0, -25.0, 40.0]), np.array([5.0, -6.0, 7.0]), np.array([1.0, 2.0, 3.0]))
POINT = np.array([12.0, -30.0, 44.0])


@pytest.fixture(scope='module')
def simulated(blobs):
    return simulate_stacks(blobs.volume, blobs.mask, blobs.affine, PROTOCOL, MotionSettings(10.0, 10.0))


def test_write_dof_is_what_mirtk_reads(tmp_path):
    write_dof(tmp_path / 'a.dof', MATRIX)
    content = (tmp_path / 'a.dof').read_bytes()
    assert struct.unpack('>III', content[:12]) == (815007, 2, 6)
    tx, ty, tz, *angles = struct.unpack('>6d', content[12:])
    # The matrix of these parameters, as MIRTK's Matrix.cc documents it.
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    expected = [
        [cy * cz, cy * sz, -sy, tx],
        [sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy, ty],
        [cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy, tz],
        [0, 0, 0, 1],
    ]
    np.testing.assert_allclose(MATRIX, expected, atol=1e-12)
    np.testing.assert_allclose(read_dof(tmp_path / 'a.dof'), MATRIX, atol=1e-12)


@given(st.lists(st.floats(-170, 170), min_size=6, max_size=6))
def test_dof_files_keep_any_rigid_transform(tmp_path_factory, values):
    matrix = rigid_matrix(np.array(values[:3]), np.array(values[3:]), np.zeros(3))
    path = tmp_path_factory.getbasetemp() / 'any.dof'
    write_dof(path, matrix)
    np.testing.assert_allclose(read_dof(path), matrix, atol=1e-7)


def test_write_itk_transform_is_what_simpleitk_reads(tmp_path):
    write_itk_transform(tmp_path / 'a.tfm', MATRIX)
    transform = SimpleITK.ReadTransform(str(tmp_path / 'a.tfm'))
    moved = np.array(transform.TransformPoint((POINT * [-1, -1, 1]).tolist())) * [-1, -1, 1]
    np.testing.assert_allclose(moved, nibabel.affines.apply_affine(MATRIX, POINT), atol=1e-9)
    # NiftyMIC takes the class of the transform from the third line, and converts to it.
    line = (tmp_path / 'a.tfm').read_text().splitlines()[2]
    assert line == 'Transform: Euler3DTransform_double_3_3'
    SimpleITK.Euler3DTransform(transform)


def test_write_slices_places_them_where_nibabel_and_simpleitk_find_them(tmp_path, simulated):
    write_slices(tmp_path / 'slices', tmp_path / 'masks', simulated.stacks, simulated.transforms)
    number = 0
    for stack, transforms in zip(simulated.stacks, simulated.transforms, strict=True):
        for index, affine in enumerate(moved_affines(stack, transforms)):
            image = nibabel.load(tmp_path / 'slices' / f'{number}.nii.gz')
            np.testing.assert_allclose(image.affine, affine, atol=1e-4)
            mask = np.asarray(nibabel.load(tmp_path / 'masks' / f'{number}.nii.gz').dataobj)[:, :, 0] > 0
            np.testing.assert_array_equal(mask, stack.mask[:, :, index])
            np.testing.assert_array_equal(image.get_fdata()[:, :, 0], np.where(mask, stack.data[:, :, index], 0))
            number += 1
    assert sorted(path.name for path in (tmp_path / 'slices').iterdir()) == sorted(f'{n}.nii.gz' for n in range(number))
    itk = SimpleITK.ReadImage(str(tmp_path / 'slices' / '3.nii.gz'))
    affine = moved_affines(simulated.stacks[0], simulated.transforms[0])[3]
    point = np.array(itk.TransformContinuousIndexToPhysicalPoint((4.0, 9.0, 0.0))) * [-1, -1, 1]
    np.testing.assert_allclose(point, nibabel.affines.apply_affine(affine, [4, 9, 0]), atol=1e-3)


def test_written_slices_with_anatomy_are_read_as_contexts(tmp_path, simulated):
    stack, transforms = simulated.stacks[0], simulated.transforms[0]
    write_slices(tmp_path / 'slices', tmp_path / 'masks', [stack], [transforms])
    shown = [index for index in range(stack.num_slices) if stack.mask[:, :, index].any()]
    for index in set(range(stack.num_slices)) - set(shown):
        (tmp_path / 'slices' / f'{index}.nii.gz').unlink()
    read = read_slice_folder(tmp_path / 'slices')
    for item, index in zip(read, shown, strict=True):
        np.testing.assert_allclose(item.volume.affine, transforms[index] @ stack.slice_affine(index), atol=1e-4)


def test_motion_table_keeps_transforms_and_affines(tmp_path, simulated):
    path = tmp_path / 'motion.tsv'
    write_motion_table(path, simulated.stacks, simulated.transforms)
    found = read_motion_table(path)
    assert list(found) == ['axial', 'coronal', 'sagittal']
    for own, true in zip(found.values(), simulated.transforms, strict=True):
        np.testing.assert_allclose(own, true, atol=1e-6)
    table = np.genfromtxt(path, names=True, dtype=None, encoding='utf-8', delimiter='\t')
    stack, row = simulated.stacks[1], table[simulated.stacks[0].num_slices + 2]
    assert (row['stack'], row['slice'], row['batch']) == ('coronal', 2, stack.batches[2])
    affine = moved_affines(stack, simulated.transforms[1])[2]
    np.testing.assert_allclose(
        [row[f'a{i}{j}'] for i in (1, 2, 3) for j in (1, 2, 3, 4)], affine[:3].ravel(), rtol=1e-6
    )


def test_write_simulation_writes_the_files_of_all_tools(tmp_path, simulated):
    write_simulation(tmp_path, simulated)
    count = 0
    for stack, transforms in zip(simulated.stacks, simulated.transforms, strict=True):
        image = nibabel.load(tmp_path / 'stacks' / f'{stack.name}.nii.gz')
        np.testing.assert_allclose(image.affine, stack.affine, atol=1e-4)
        np.testing.assert_array_equal(image.get_fdata(), stack.data)
        mask = nibabel.load(tmp_path / 'stacks' / f'{stack.name}_mask.nii.gz')
        np.testing.assert_array_equal(mask.get_fdata() > 0, stack.mask)
        for transform in transforms:
            np.testing.assert_allclose(
                read_dof(tmp_path / 'svrtk' / f'transformation{count}.dof'), transform, atol=1e-9
            )
            count += 1
        last = SimpleITK.ReadTransform(str(tmp_path / 'niftymic' / f'{stack.name}_slice{len(transforms) - 1}.tfm'))
        moved = np.array(last.TransformPoint((POINT * [-1, -1, 1]).tolist())) * [-1, -1, 1]
        np.testing.assert_allclose(moved, nibabel.affines.apply_affine(transforms[-1], POINT), atol=1e-9)
    assert len(list((tmp_path / 'slices').iterdir())) == len(list((tmp_path / 'slice_masks').iterdir())) == count


def test_write_simulation_writes_the_inverse_of_a_stack_that_moved_as_one(tmp_path, blobs):
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, PROTOCOL, MotionSettings(0.0), planes=['axial'])
    transforms = [np.tile(MATRIX, (simulated.stacks[0].num_slices, 1, 1))]
    write_simulation(tmp_path, type(simulated)(simulated.stacks, transforms))
    np.testing.assert_allclose(read_dof(tmp_path / 'svrtk' / 'axial.dof') @ MATRIX, np.eye(4), atol=1e-6)


def test_reading_refuses_other_files(tmp_path):
    other = tmp_path / 'other'
    other.write_text('stack\tslice\n')
    for read in (read_dof, read_motion_table):
        with pytest.raises(UserError, match='other'):
            read(other)
        with pytest.raises(UserError, match='cannot be read'):
            read(tmp_path / 'missing')
