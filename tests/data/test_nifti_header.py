"""A repaired header causes a warning; an affine that depends on the repair is an error."""

import gzip
import struct
import tracemalloc

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import read_volume
from tfp_bruno.errors import UserError, collect_warnings

DATA = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
AFFINE = np.diag([1.5, 2.0, 3.0, 1.0]) + np.eye(4, k=3) * -7.0
# (offset, form) of fields of a NIfTI-1 header.
PIXDIM, QFAC = (80, '<3f'), (76, '<f')
BITPIX, OFFSET, SCALING, UNITS = (72, '<h'), (108, '<f'), (112, '<2f'), (123, '<B')
QFORM_CODE, SFORM_CODE, SROW_X, MAGIC = (252, '<h'), (254, '<h'), (280, '<4f'), (344, '<4s')


@pytest.fixture
def write(tmp_path, save):
    """Writes DATA with an sform, a qform or both, and changes fields of its header; returns the path."""

    def write(*changes, sform=AFFINE, qform=None, data=DATA):
        path = save(tmp_path / 'scan.nii', data, sform, qform)
        content = bytearray(path.read_bytes())
        if qform is None:
            # nibabel sets the voxel sizes with the qform.
            struct.pack_into('<4f', content, 76, 1, 1.5, 2, 3)
        for (offset, form), *values in changes:
            struct.pack_into(form, content, offset, *values)
        path.write_bytes(content)
        return path

    return write


def read_with_warnings(path, **arguments):
    with collect_warnings() as warnings:
        volume = read_volume(path, **arguments)
    assert all(line.startswith(str(path)) and '\n' not in line for line in warnings)
    return volume, warnings


def test_read_volume_standard_header_has_no_warning(write, tmp_path):
    for path in (write(), write(sform=None, qform=AFFINE), write(sform=AFFINE, qform=AFFINE)):
        volume, warnings = read_with_warnings(path)
        assert warnings == []
        np.testing.assert_allclose(volume.affine, AFFINE)
    nibabel.save(nibabel.Nifti1Image(DATA.astype(np.int16), AFFINE), tmp_path / 'a.nii.gz')
    nibabel.save(nibabel.Nifti2Image(DATA, AFFINE), tmp_path / 'b.nii')
    assert [read_with_warnings(tmp_path / name)[1] for name in ('a.nii.gz', 'b.nii')] == [[], []]


MENDED = {
    'no_size': ((PIXDIM, 1.5, 2.0, 0.0), 'pixdim'),
    'negative_size': ((PIXDIM, -1.5, 2.0, 3.0), 'pixdim'),
    'qfac': ((QFAC, 0.0), 'qfac'),
    'bitpix': ((BITPIX, 8), 'bitpix'),
    'qform_code': ((QFORM_CODE, 77), 'qform_code 77'),
    'offset': ((OFFSET, 0.0), 'vox_offset is 0'),
    'slope': ((SCALING, float('nan'), 0.0), 'scl_slope is nan'),
    'intercept': ((SCALING, 0.0, 5.0), 'scl_inter 5'),
}


@pytest.mark.parametrize('case', MENDED)
def test_read_volume_warns_of_repairs_beside_a_valid_sform(write, case):
    change, words = MENDED[case]
    volume, (warning,) = read_with_warnings(write(change))
    assert words in warning
    np.testing.assert_array_equal(volume.data, DATA)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_read_volume_slope_0_means_no_scaling(write):
    volume, warnings = read_with_warnings(write((SCALING, 0.0, 0.0)))
    np.testing.assert_array_equal(volume.data, DATA)
    assert warnings == []


@pytest.mark.parametrize('sizes', [(1.5, 2.0, 0.0), (0.0, 2.0, 3.0), (1.5, -2.0, 3.0)])
@pytest.mark.parametrize('assume_ras', [False, True])
def test_read_volume_refuses_an_affine_from_repaired_voxel_sizes(write, sizes, assume_ras):
    path = write((PIXDIM, *sizes), sform=None, qform=None if assume_ras else AFFINE)
    with pytest.raises(UserError, match=r'scan\.nii: has voxels of .* mm by its pixdim, and no sform'):
        read_volume(path, assume_ras)


def test_read_volume_refuses_a_qform_of_unknown_handedness(write):
    # The standard takes 0 for 1; what another number means nobody knows.
    volume, (warning,) = read_with_warnings(write((QFAC, 0.0), sform=None, qform=AFFINE))
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert 'qfac' in warning
    with pytest.raises(UserError, match='left and right are unknown'):
        read_volume(write((QFAC, 3.0), sform=None, qform=AFFINE))


def test_read_volume_warns_if_sform_and_pixdim_differ(write):
    volume, (warning,) = read_with_warnings(write((PIXDIM, 1.5, 2.0, 4.0)))
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert '1.5 x 2 x 3 mm by its sform but 1.5 x 2 x 4 mm by its pixdim' in warning
    assert 'nan mm by its pixdim' in read_with_warnings(write((PIXDIM, 1.5, 2.0, float('nan'))))[1][0]
    assert read_with_warnings(write((PIXDIM, 1.51, 2.0, 3.01)))[1] == []


def test_read_volume_warns_of_an_unusable_sform(write):
    volume, (warning,) = read_with_warnings(write((SROW_X, 0.0, 0.0, 0.0, 0.0), qform=AFFINE))
    assert 'its sform cannot be used (singular or not finite); its qform is' in warning
    np.testing.assert_allclose(volume.affine, AFFINE)
    volume, warnings = read_with_warnings(write((SFORM_CODE, 77), qform=AFFINE))
    assert 'sform_code 77 not valid' in warnings[0]
    np.testing.assert_allclose(volume.affine, AFFINE)


@pytest.mark.parametrize(('code', 'factor', 'name'), [(1, 1e-3, 'metres'), (3, 1e3, 'micrometres')])
def test_read_volume_converts_the_unit_of_length(write, code, factor, name):
    scaled = np.diag([factor, factor, factor, 1.0]) @ AFFINE
    for forms in ({'sform': scaled}, {'sform': None, 'qform': scaled}):
        sizes = (PIXDIM, 1.5 * factor, 2.0 * factor, 3.0 * factor)
        volume, (warning,) = read_with_warnings(write(sizes, (UNITS, code), **forms))
        np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-5)
        assert f'is in {name}' in warning
    # Millimetres under another name.
    with pytest.raises(UserError, match='which cannot be; correct affine and units'):
        read_volume(write((UNITS, code)))


def test_read_volume_ignores_units_of_time_and_warns_of_unknown_ones(write):
    assert read_with_warnings(write((UNITS, 2 | 8)))[1] == []
    volume, (warning,) = read_with_warnings(write((UNITS, 5)))
    assert 'unknown code 5' in warning
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_read_volume_warns_of_surplus_bytes(write):
    path = write()
    path.write_bytes(path.read_bytes() + bytes(7))
    volume, (warning,) = read_with_warnings(path)
    assert 'holds 7 bytes more than its header promises' in warning
    np.testing.assert_array_equal(volume.data, DATA)


def test_read_volume_refuses_gibibytes_before_it_unpacks_them(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((512, 512, 512, 16))
    header['vox_offset'] = 352
    path = tmp_path / 'large.nii.gz'
    # The first 128 MiB of 8 GiB of zeros, in 128 KiB.
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4 + 2**27)))
    tracemalloc.start()
    with pytest.raises(UserError, match=r'is 4-D \(512 x 512 x 512 x 16\), not one 3-D volume'):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_read_volume_refuses_a_damaged_or_cut_header(write):
    with pytest.raises(UserError, match='header is damaged'):
        read_volume(write((OFFSET, 1e30)))
    path = write()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r'is cut short, within its header'):
        read_volume(path)


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((5, 6), r'is 2-D \(5 x 6\); save it as 5 x 6 x 1 with its affine'),
        ((4, 5, 6, 3), r'is 4-D \(4 x 5 x 6 x 3\), not one 3-D volume; extract one 3-D frame'),
    ],
)
def test_read_volume_not_3_d_names_the_remedy(write, shape, message):
    with pytest.raises(UserError, match=message):
        read_volume(write(data=np.arange(np.prod(shape), dtype=np.float32).reshape(shape)))
