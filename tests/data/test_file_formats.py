"""Files of other formats are named with a way to convert them; gzip is unpacked within a bound."""

import gzip
import pathlib
import tracemalloc

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import read_volume
from tfp_bruno.data.file_formats import unpack
from tfp_bruno.errors import UserError

DATA = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)


def written_by_nibabel(image_class, name):
    """Returns a function that writes an image of another class, and returns the file to read."""

    def write(folder):
        nibabel.save(image_class(DATA, np.diag([2.0, 2.0, 2.0, 1.0])), folder / name)
        return folder / name

    return write


def with_bytes(name, content):
    """Returns a function that writes a file of these bytes."""

    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


PAIR = r'is one half of an Analyze or NIfTI pair \(\.hdr and \.img\); convert the pair'
FILES = {
    'nifti_header': (written_by_nibabel(nibabel.Nifti1Pair, 'p.hdr'), PAIR),
    'nifti_voxels': (written_by_nibabel(nibabel.Nifti1Pair, 'p.img'), PAIR),
    'nifti_2_header': (written_by_nibabel(nibabel.Nifti2Pair, 'p.hdr'), PAIR),
    'analyze_header': (written_by_nibabel(nibabel.AnalyzeImage, 'p.hdr'), r'is an Analyze 7\.5 header'),
    'spm_voxels': (written_by_nibabel(nibabel.Spm99AnalyzeImage, 'p.img'), PAIR),
    'mgh': (
        written_by_nibabel(nibabel.MGHImage, 'p.mgh'),
        'is an MGH file, not a NIfTI volume; convert it, e.g. with mri_',
    ),
    'mgz': (written_by_nibabel(nibabel.MGHImage, 'p.mgz'), 'is an MGH file'),
    'dicom': (
        with_bytes('IM0001', bytes(128) + b'DICM' + bytes(500)),
        'is a DICOM file, not a NIfTI volume; .*dcm2niix',
    ),
    'dicom_by_name': (with_bytes('a.nii', bytes(range(128)) + b'DICM' + bytes(500)), 'is a DICOM file'),
    'nrrd': (with_bytes('a.nrrd', b'NRRD0004\n# Complete'), 'is an NRRD file'),
    'metaimage': (with_bytes('a.mhd', b'ObjectType = Image\nNDims = 3\n'), 'is a MetaImage header'),
    'zip': (with_bytes('a.nii.gz', b'PK\3\4' + bytes(99)), 'is a zip archive'),
    'twice': (with_bytes('a.nii.gz', gzip.compress(gzip.compress(b'volume'))), 'is packed with gzip twice'),
    'lfs': (with_bytes('a.nii.gz', b'version https://git-lfs.github.com/spec/v1\n'), 'is a pointer of Git LFS'),
    'annex': (with_bytes('a.nii.gz', b'/annex/objects/MD5E-s1--0.nii.gz\n'), 'is a pointer of git-annex'),
    'other': (with_bytes('a.nii', b'a letter'), 'is not a NIfTI file; give a .nii or .nii.gz volume'),
}


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('case', FILES)
def test_read_volume_names_other_formats(tmp_path, case, packed):
    write, message = FILES[case]
    path = write(tmp_path)
    content = path.read_bytes()
    if packed and not content.startswith(b'\x1f\x8b'):
        path = path.with_name(path.name.removesuffix('.gz') + '.gz')
        path.write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match=message) as caught:
        read_volume(path)
    assert str(caught.value).startswith(str(path))
    assert 'cut short' not in str(caught.value)
    assert '\n' not in str(caught.value)


PATH = pathlib.Path('scan.nii.gz')
CONTENT = bytes(range(256)) * 100


def test_unpack_reads_several_gzip_members_and_padding():
    packed = gzip.compress(CONTENT[:9000]) + gzip.compress(CONTENT[9000:])
    for content in (gzip.compress(CONTENT), packed, packed + b'\0' * 100, CONTENT):
        assert unpack(content, PATH, len(CONTENT)) == CONTENT
        assert unpack(content, PATH, 500, whole=False)[:500] == CONTENT[:500]


@pytest.mark.parametrize(
    'content',
    [
        gzip.compress(CONTENT)[:-3],
        gzip.compress(CONTENT)[:100],
        gzip.compress(CONTENT)[:-8] + b'\0' * 8,
        gzip.compress(CONTENT) + b'rest',
        b'\x1f\x8b',
    ],
    # Names: gzip's header holds the time, and parallel workers must collect equal tests.
    ids=['cut', 'short', 'checksum', 'rest', 'head'],
)
def test_unpack_refuses_damaged_data(content):
    with pytest.raises(UserError, match=r'scan\.nii\.gz: is cut short or damaged'):
        unpack(content, PATH, len(CONTENT))


def test_read_volume_does_not_unpack_a_decompression_bomb(tmp_path, save):
    path = save(tmp_path / 'scan.nii', np.arange(1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4))
    bomb = gzip.compress(path.read_bytes() + bytes(200 << 20), compresslevel=1)
    (tmp_path / 'bomb.nii.gz').write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(UserError, match=r'bomb\.nii\.gz: unpacks to more than its header promises'):
        read_volume(tmp_path / 'bomb.nii.gz')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
