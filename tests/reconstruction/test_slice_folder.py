"""Single slices are placed by their affines in the stack of a reference."""

import logging as standard_logging
import pathlib

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.data import Volume, extract_stack, get_definition, stack_affine
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import SliceSelection, contexts_of_scan, contexts_of_slices, read_slice_folder

FETAL = get_definition('fetal')


@pytest.fixture
def scan():
    """An oblique scan of slices of 2 mm, with anisotropic pixels, smooth, background 0."""
    rng = np.random.default_rng(3)
    data = ndimage.gaussian_filter(rng.uniform(0, 1000, (70, 80, 60)), 3)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in data.shape], indexing='ij')
    data = np.where(x**2 + y**2 + z**2 < 0.8, data, 0).astype(np.float32)
    matrix = Rotation.from_rotvec([0.2, -0.1, 0.3]).as_matrix() @ np.diag([1.6, 1.3, 2.0])
    return Volume(data, nibabel.affines.from_matvec(matrix, [-40, -60, 10]), pathlib.Path('scan.nii.gz'))


def write_slice(folder, name, scan, index, data=None, turn=None):
    affine = scan.affine.copy()
    affine[:3, 3] = (scan.affine @ [0, 0, index, 1])[:3]
    image = nibabel.Nifti1Image(
        (scan.data if data is None else data)[:, :, index : index + 1], affine if turn is None else turn @ affine
    )
    folder.mkdir(exist_ok=True)
    nibabel.save(image, folder / name)


def contexts_in(folder, scan):
    return contexts_of_slices(read_slice_folder(folder), stack_affine(scan, FETAL), FETAL, str(folder))


@pytest.mark.parametrize('layout', [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)])
def test_contexts_of_slices_match_those_of_the_scan(tmp_path, scan, layout):
    whole = contexts_of_scan(scan, SliceSelection(scan_slices=(15, 30, 44)), FETAL)
    for number, index in enumerate((44, 15, 30)):
        write_slice(tmp_path / 'slices', f'{number + 9}.nii.gz', scan, index)
        path = tmp_path / 'slices' / f'{number + 9}.nii.gz'
        # In any order of the axes of the file.
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(image.get_fdata().transpose(layout), image.affine[:, [*layout, 3]]), path)
    contexts = contexts_in(tmp_path / 'slices', scan)
    assert contexts.positions == whole.positions
    np.testing.assert_allclose(contexts.affine, whole.affine)
    assert contexts.slice_thickness == pytest.approx(2.0)
    # Slices of the stack are interpolated between those of the scan; a single slice is not.
    for mine, theirs in zip(contexts.images, whole.images, strict=True):
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.98
    assert [pathlib.Path(path).name for path in contexts.files] == ['10.nii.gz', '11.nii.gz', '9.nii.gz']


def test_contexts_of_slices_on_a_plane_of_the_stack_are_its_slices(tmp_path, scan):
    # Plane k = 33 of the stack as a single slice with the pixels of the stack.
    stack = extract_stack(scan, FETAL)
    affine = stack.affine.copy()
    affine[:3, 3] = (stack.affine @ [0, 0, 33, 1])[:3]
    (tmp_path / 'one').mkdir()
    nibabel.save(nibabel.Nifti1Image(stack.images[33].T[..., None], affine), tmp_path / 'one' / 'a.nii')
    contexts = contexts_in(tmp_path / 'one', scan)
    assert contexts.positions == (33,)
    low, high = contexts.intensities
    expected = np.clip((stack.images[33] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(contexts.images[0], expected, atol=1e-4)


def test_contexts_of_slices_outside_the_mask_are_background(tmp_path, scan):
    inside = np.zeros(scan.data.shape, np.uint8)
    inside[:35] = 1
    write_slice(tmp_path / 'slices', '0.nii.gz', scan, 30)
    write_slice(tmp_path / 'slices', 'mask_0.nii.gz', scan, 30, inside)
    (contexts,) = contexts_in(tmp_path / 'slices', scan).given
    np.testing.assert_array_equal(contexts.data[..., 0], np.where(inside[:, :, 30], scan.data[:, :, 30], 0))


def test_contexts_of_slices_merge_identical_slices_and_refuse_different_ones(tmp_path, scan, caplog):
    write_slice(tmp_path / 'slices', '0.nii.gz', scan, 30)
    write_slice(tmp_path / 'slices', '1.nii.gz', scan, 30)
    with caplog.at_level(standard_logging.WARNING, logger='absl'):
        assert len(contexts_in(tmp_path / 'slices', scan).positions) == 1
    assert '1.nii.gz: is the same slice as' in caplog.text
    write_slice(tmp_path / 'slices', '1.nii.gz', scan, 30, scan.data * 0.9)
    with pytest.raises(
        UserError, match=r'1\.nii\.gz: is nearest to position \d+ of the model, as is .*0\.nii\.gz, but differs'
    ):
        contexts_in(tmp_path / 'slices', scan)


def test_contexts_of_slices_refuse_slices_outside_the_stack_or_tilted(tmp_path, scan, caplog):
    far = nibabel.affines.from_matvec(np.eye(3), [0, 0, 200])
    write_slice(tmp_path / 'far', '0.nii.gz', scan, 30, turn=far)
    with pytest.raises(UserError, match=r"0\.nii\.gz: lies outside the model's field of view, at slice"):
        contexts_in(tmp_path / 'far', scan)
    centre = nibabel.affines.apply_affine(scan.affine, (np.array(scan.data.shape) - 1) / 2)
    for degrees, fails in ((3, False), (8, False), (40, True)):
        turn = Rotation.from_euler('x', degrees, degrees=True).as_matrix()
        turn = nibabel.affines.from_matvec(turn, centre - turn @ centre)
        write_slice(tmp_path / str(degrees), '0.nii.gz', scan, 30, turn=turn)
        caplog.clear()
        if fails:
            with pytest.raises(UserError, match=r'is tilted by \d+ degrees against the model.s axial planes'):
                contexts_in(tmp_path / str(degrees), scan)
        else:
            with caplog.at_level(standard_logging.WARNING, logger='absl'):
                contexts_in(tmp_path / str(degrees), scan)
            assert ('is tilted by' in caplog.text) == (degrees > 5)


def test_contexts_of_slices_read_a_tilted_slice_in_its_own_plane(tmp_path):
    # In a field that is linear in the world, the value of a pixel gives the place at which it was read.
    affine = nibabel.affines.from_matvec(np.eye(3) * 2, [-80, -80, -50])
    box = Volume(np.pad(np.ones((79, 79, 49), np.float32), 1), affine, pathlib.Path('box.nii'))
    turn = Rotation.from_euler('x', 8, degrees=True).as_matrix() @ np.diag([1.5, 1.5, 3])
    tilted = nibabel.affines.from_matvec(turn, [-90, -90, 5])
    i, j = np.meshgrid(np.arange(120), np.arange(120), indexing='ij')
    world = nibabel.affines.apply_affine(tilted, np.stack([i, j, np.zeros_like(i)], -1))
    data = (500 + world @ [1.0, 2.0, 0.5]).astype(np.float32)[..., None]
    nibabel.save(nibabel.Nifti1Image(data, tilted), tmp_path / '0.nii')
    frame = stack_affine(box, FETAL)
    contexts = contexts_of_slices(read_slice_folder(tmp_path), frame, FETAL, str(tmp_path))
    low, high = contexts.intensities
    normal = np.cross(tilted[:3, 0], tilted[:3, 1])
    for h, w in ((20, 30), (32, 32), (40, 25)):
        start, step = frame @ [w, h, 0, 1], frame[:3, 2]
        k = normal @ (tilted[:3, 3] - start[:3]) / (normal @ step)
        expected = 500 + (start[:3] + k * step) @ [1.0, 2.0, 0.5]
        # Smoothing leaves a linear field as it is.
        assert contexts.images[0, h, w] * (high - low) + low == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({}, 'holds no slices'),
        ({'0.nii': (9, 9, 5)}, r'0\.nii: is not a single slice \(9 x 9 x 5\)'),
        ({'0.nii': (9, 1, 1)}, r'is not a single slice \(9 x 1 x 1\)'),
        ({'0.nii': (9, 9, 1), 'mask_1.nii': (9, 9, 1)}, r'mask_1\.nii: is a mask without a slice'),
        ({'0.nii': (9, 9, 1), 'mask_0.nii': (9, 8, 1)}, r'mask_0\.nii: is on another grid than'),
    ],
)
def test_read_slice_folder_refuses_unusable_folders(tmp_path, files, message):
    for name, shape in files.items():
        data = np.random.default_rng(0).uniform(1, 9, shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(data, np.diag([10.0, 10, 2, 1])), tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_slice_folder(tmp_path)
    for folder, words in ((tmp_path / 'none', 'there is no such folder'), (__file__, 'cannot be read')):
        with pytest.raises(UserError, match=words):
            read_slice_folder(folder)


def test_read_slice_folder_takes_suffixes_and_masks_in_any_case(tmp_path, scan):
    inside = np.zeros(scan.data.shape, np.uint8)
    inside[:35] = 1
    for name, index in (('0.NII.GZ', 20), ('1.Nii', 30), ('2.nii.gz', 40)):
        write_slice(tmp_path, name.lower(), scan, index)
        (tmp_path / name.lower()).rename(tmp_path / name)
    write_slice(tmp_path, 'mask_0.nii', scan, 20, inside)
    write_slice(tmp_path, '2_mask.nii.gz', scan, 40, inside)
    slices = read_slice_folder(tmp_path)
    assert [item.volume.path.name for item in slices] == ['0.NII.GZ', '1.Nii', '2.nii.gz']
    assert [item.mask is not None for item in slices] == [True, False, True]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('1.nrrd', r'1 images of other formats would not be used \(1\.nrrd\)'),
        ('1.HDR', r'would not be used \(1\.HDR\)'),
        ('0.nii', r'0\.nii\.gz: has the same name as 0\.nii; remove one of them'),
        ('0_mask.nii', r'mask_0\.nii\.gz: has the same name as 0_mask\.nii'),
        ('1_seg.nii', r'1_seg\.nii: is a mask without a slice'),
    ],
)
def test_read_slice_folder_names_files_that_would_not_be_used(tmp_path, scan, name, message):
    write_slice(tmp_path, '0.nii.gz', scan, 30)
    write_slice(tmp_path, 'mask_0.nii.gz', scan, 30, (scan.data > 0).astype(np.uint8))
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=message):
        read_slice_folder(tmp_path)


def test_read_slice_folder_names_all_broken_links(tmp_path, scan):
    write_slice(tmp_path, '0.nii.gz', scan, 30)
    for name in ('1.nii.gz', '2.nii.gz', 'mask_0.nii.gz'):
        (tmp_path / name).symlink_to('.git/annex/objects/nowhere')
    with pytest.raises(UserError) as caught:
        read_slice_folder(tmp_path)
    assert str(caught.value).startswith(f'{tmp_path}: 3 of 3 files cannot be used: (1) mask_0.nii.gz: its content is ')
    assert '(2) 1.nii.gz: its content is not there: a broken link; fetch it' in str(caught.value)


def test_read_slice_folder_refuses_a_slice_without_orientation(tmp_path, scan):
    write_slice(tmp_path, '0.nii.gz', scan, 30)
    nibabel.save(nibabel.Nifti1Image(scan.data[:, :, 30:31], None), tmp_path / '0.nii.gz')
    with pytest.raises(UserError, match=r'0\.nii\.gz: has neither .* the place of the slice is unknown; set one\.$'):
        read_slice_folder(tmp_path)
