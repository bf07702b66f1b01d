"""Packed files are unpacked whole, and within a bound."""

import gzip
import pathlib
import tracemalloc

import numpy as np
import pytest

from tfp_bruno.data import read_volume
from tfp_bruno.data.unpacking import unpack
from tfp_bruno.errors import UserError

PATH = pathlib.Path('scan.nii.gz')
CONTENT = bytes(range(256)) * 100


def test_one_member_several_members_and_padding():
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
)
def test_damage(content):
    with pytest.raises(UserError, match=r'scan\.nii\.gz: is cut short or damaged'):
        unpack(content, PATH, len(CONTENT))


def test_a_small_file_that_unpacks_to_a_large_one_does_not(tmp_path, save):
    path = save(tmp_path / 'scan.nii', np.arange(1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4))
    bomb = gzip.compress(path.read_bytes() + bytes(200 << 20), compresslevel=1)
    (tmp_path / 'bomb.nii.gz').write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(UserError, match=r'bomb\.nii\.gz: unpacks to more than its header promises'):
        read_volume(tmp_path / 'bomb.nii.gz')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
