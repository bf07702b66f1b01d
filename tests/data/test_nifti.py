"""Reading agrees with nibabel, an unusable file is an error of one line, and written files are standard."""

import gzip
import logging as standard_logging
import os
import struct

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import read_mask, read_volume, write_volume
from tfp_bruno.errors import UserError

AFFINE = np.array([[0.0, -2.0, 0.0, 10.0], [1.5, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


def rotation(degrees):
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
@pytest.mark.parametrize('dtype', [np.int16, np.uint8, np.float32, np.float64])
def test_read_volume_matches_nibabel(tmp_path, save, suffix, dtype):
    data = np.arange(60).reshape(3, 4, 5).astype(dtype)
    volume = read_volume(save(tmp_path / f'scan{suffix}', data, AFFINE))
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_read_volume_applies_slope_and_intercept(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    image.header.set_slope_inter(0.5, -3.0)
    content = bytearray(image.to_bytes())
    content[112:120] = struct.pack('<ff', 0.5, -3.0)
    (tmp_path / 'scan.nii').write_bytes(content)
    stored = np.frombuffer(bytes(content[352:]), '<i2').reshape((2, 3, 4), order='F')
    np.testing.assert_allclose(read_volume(tmp_path / 'scan.nii').data, stored * 0.5 - 3.0)


def test_read_volume_reads_nifti_2_and_one_frame(tmp_path):
    nibabel.save(nibabel.Nifti2Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1), AFFINE), tmp_path / 'a.nii')
    volume = read_volume(tmp_path / 'a.nii')
    np.testing.assert_array_equal(volume.data, np.arange(24).reshape(2, 3, 4))


def test_read_volume_prefers_the_sform_with_a_warning(tmp_path, save, caplog):
    path = save(tmp_path / 'scan.nii.gz', np.arange(24, dtype=np.float32).reshape(2, 3, 4), AFFINE, np.eye(4))
    with caplog.at_level(standard_logging.WARNING, logger='absl'):
        volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert 'sform and qform differ' in caplog.text


def test_read_volume_uses_the_qform_without_a_valid_sform(tmp_path, save):
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    oblique = rotation(20) @ np.diag([1.0, 2.0, 3.0, 1.0])
    np.testing.assert_allclose(read_volume(save(tmp_path / 'q.nii', data, None, oblique)).affine, oblique, atol=1e-5)
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(read_volume(save(tmp_path / 's.nii', data, flat, oblique)).affine, oblique, atol=1e-5)


def test_read_volume_assume_ras_is_centred_at_world_0(tmp_path, save):
    path = save(tmp_path / 'scan.nii', np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    with pytest.raises(UserError, match=r'scan\.nii: has neither a valid sform nor a valid qform'):
        read_volume(path)
    affine = read_volume(path, assume_ras=True).affine
    np.testing.assert_allclose(affine @ [1, 1.5, 2, 1], [0, 0, 0, 1])


def not_a_number(data):
    data[1, 1, 1] = np.nan
    return data


BAD_DATA = {
    'four_dimensions': (lambda data: np.stack([data, data], -1), r'is 4-D \(4 x 5 x 6 x 2\)'),
    'two_dimensions': (lambda data: data[0], 'is 2-D'),
    'nan': (not_a_number, '1 voxels are NaN or infinite'),
    'infinite': (lambda data: np.where(data > 100, np.inf, data).astype(np.float32), 'NaN or infinite'),
    'empty': (np.zeros_like, 'is empty: every voxel is 0'),
    'constant': (lambda data: np.full_like(data, 7), 'is constant: every voxel is 7'),
    'complex': (lambda data: data.astype(np.complex64), 'are not intensities'),
}


@pytest.mark.parametrize('case', BAD_DATA)
def test_read_volume_refuses_unusable_voxels(tmp_path, save, case):
    change, message = BAD_DATA[case]
    data = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    check_one_line(save(tmp_path / 'scan.nii.gz', change(data), AFFINE), message)


@pytest.mark.parametrize('share', [0.3, 0.9, 0.999])
@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
def test_read_volume_refuses_a_truncated_file(tmp_path, save, share, suffix):
    data = np.random.default_rng(0).uniform(size=(20, 20, 20)).astype(np.float32)
    path = save(tmp_path / f'scan{suffix}', data, AFFINE)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    check_one_line(path, 'is cut short')


def test_read_volume_verifies_the_gzip_checksum(tmp_path, save):
    path = save(tmp_path / 'scan.nii.gz', np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32), AFFINE)
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    check_one_line(path, 'is cut short or damaged')
    path.write_bytes(content[:500] + bytes([content[500] ^ 255]) + content[501:])
    check_one_line(path, 'is cut short or damaged')


def test_read_volume_refuses_files_that_are_not_volumes(tmp_path):
    check_one_line(tmp_path / 'none.nii.gz', 'there is no such file')
    check_one_line(tmp_path, 'is a folder')
    (tmp_path / 'text.nii').write_text('hello')
    check_one_line(tmp_path / 'text.nii', 'is not a NIfTI file')
    (tmp_path / 'text.nii.gz').write_bytes(gzip.compress(b'hello' * 100))
    check_one_line(tmp_path / 'text.nii.gz', 'is not a NIfTI file')
    (tmp_path / 'empty.nii').write_bytes(b'')
    check_one_line(tmp_path / 'empty.nii', 'is not a NIfTI file')


def test_read_volume_damaged_header_is_a_user_error(tmp_path, save):
    path = save(tmp_path / 'scan.nii', np.random.default_rng(0).uniform(size=(6, 6, 6)).astype(np.float32), AFFINE)
    content, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(300):
        changed = bytearray(content)
        for place in rng.integers(4, 348, 12):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_volume(path)
        except UserError as error:
            assert str(error).startswith(str(path))
            assert '\n' not in str(error)


def check_one_line(path, message):
    with pytest.raises(UserError, match=message) as caught:
        read_volume(path)
    assert str(caught.value).startswith(str(path))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
@pytest.mark.parametrize('dtype', [np.float32, np.uint8])
def test_write_volume_writes_a_standard_header(tmp_path, suffix, dtype):
    affine = rotation(25) @ np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [1, 2, 3]
    data = np.random.default_rng(0).uniform(0, 200, (4, 5, 6)).astype(dtype)
    path = tmp_path / f'out{suffix}'
    write_volume(path, data, affine)
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    assert image.get_data_dtype() == dtype
    for get in (image.header.get_sform, image.header.get_qform):
        written, code = get(coded=True)
        assert code == 1
        np.testing.assert_allclose(written, affine, atol=1e-5)
    raw = gzip.decompress(path.read_bytes()) if suffix.endswith('gz') else path.read_bytes()
    assert struct.unpack_from('<ff', raw, 112) == (1.0, 0.0)
    assert image.header.get_xyzt_units()[0] == 'mm'
    assert list(tmp_path.iterdir()) == [path]


def test_write_volume_refuses_other_types_and_shears(tmp_path):
    with pytest.raises(ValueError, match='float32 or uint8'):
        write_volume(tmp_path / 'a.nii', np.zeros((2, 2, 2), np.int64), np.eye(4))
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    with pytest.raises(ValueError, match='shear'):
        write_volume(tmp_path / 'a.nii', np.zeros((2, 2, 2), np.float32), sheared)


HEADERS = {
    'voxels': (lambda affine: affine @ np.diag([1e4, 1, 1, 1]), r'has voxels of .* mm, which cannot be'),
    'small_voxels': (lambda affine: affine @ np.diag([1e-4, 1, 1, 1]), r'has voxels of .* mm, which cannot be'),
    'far': (lambda affine: np.vstack([[0, 1, 0, 1e7], affine[1:]]), 'lies more than 100000 mm from world 0'),
    'sheared': (lambda affine: affine @ (np.eye(4) + 3 * np.eye(4, k=1)), 'has axes far from right angles'),
}


@pytest.mark.parametrize('case', HEADERS)
def test_read_volume_refuses_implausible_affines(tmp_path, save, case):
    change, message = HEADERS[case]
    data = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    check_one_line(save(tmp_path / 'scan.nii.gz', data, change(AFFINE)), message)


def test_read_volume_refuses_overflow_and_too_many_voxels(tmp_path, save):
    check_one_line(save(tmp_path / 'a.nii', np.arange(24.0).reshape(2, 3, 4) * 1e300, AFFINE), 'NaN or infinite')
    content = bytearray(save(tmp_path / 'b.nii', np.arange(24, dtype=np.float32).reshape(2, 3, 4), AFFINE).read_bytes())
    content[42:48] = struct.pack('<3h', 30000, 30000, 30000)
    (tmp_path / 'b.nii').write_bytes(content)
    check_one_line(tmp_path / 'b.nii', 'voxels, more than can be processed')


def test_read_volume_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / 'pipe.nii')
    check_one_line(tmp_path / 'pipe.nii', 'is a device or a pipe, not a file')
    with pytest.raises(UserError, match='cannot be read'):
        read_volume('scan\0.nii')


def test_read_mask_checks_grid_and_content(tmp_path, save):
    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    volume = read_volume(save(tmp_path / 'scan.nii.gz', data, AFFINE))
    ones = save(tmp_path / 'ones.nii.gz', np.ones(data.shape, np.uint8), AFFINE)
    assert read_mask(ones, volume).all()
    part = save(tmp_path / 'part.nii.gz', (data > 10).astype(np.uint8), AFFINE)
    np.testing.assert_array_equal(read_mask(part, volume), data > 10)
    bad = {
        'marks nothing': (np.zeros(data.shape, np.uint8), AFFINE),
        'is on another grid than': (np.ones((3, 4, 6), np.uint8), AFFINE),
        r'moved\.nii\.gz: is on another grid': (np.ones(data.shape, np.uint8), AFFINE + np.eye(4, k=3)),
        'NaN or infinite': (np.full(data.shape, np.nan, np.float32), AFFINE),
    }
    for message, (voxels, affine) in bad.items():
        path = save(tmp_path / 'moved.nii.gz', voxels, affine)
        with pytest.raises(UserError, match=message) as caught:
            read_mask(path, volume)
        assert str(caught.value).startswith(str(path))


def test_read_volume_names_a_broken_link(tmp_path):
    (tmp_path / 'link.nii.gz').symlink_to('.git/annex/objects/nowhere')
    with pytest.raises(UserError, match=r'link\.nii\.gz: its content is not there: a broken link; fetch it'):
        read_volume(tmp_path / 'link.nii.gz')


def test_read_mask_assume_ras_matches_the_scan(tmp_path, save, smooth_volume):
    scan = save(tmp_path / 'scan.nii', smooth_volume)
    mask = save(tmp_path / 'mask.nii', (smooth_volume > 500).astype(np.uint8))
    volume = read_volume(scan, assume_ras=True)
    np.testing.assert_array_equal(read_mask(mask, volume, assume_ras=True), smooth_volume > 500)
    with pytest.raises(UserError, match=r'mask\.nii: has neither .*; set one, or give `assume_ras`'):
        read_mask(mask, volume)


def test_write_volume_packs_gz_in_any_case(tmp_path):
    write_volume(tmp_path / 'a.NII.GZ', np.ones((2, 2, 2), np.float32), np.eye(4))
    assert (tmp_path / 'a.NII.GZ').read_bytes().startswith(b'\x1f\x8b')
