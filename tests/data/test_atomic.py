"""A file is replaced as a whole or not at all."""

import pytest

from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'table.tsv'
    atomic.write_text(path, 'old')
    with pytest.raises(RuntimeError), atomic.replacing(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['table.tsv']


def test_the_temporary_name_lies_beside_the_file_and_keeps_its_suffixes(tmp_path):
    with atomic.replacing(tmp_path / 'new' / 'mean.nii.gz') as temporary:
        assert temporary.parent == tmp_path / 'new'
        assert temporary.name.endswith('mean.nii.gz')
        temporary.write_bytes(b'whole')
    assert (tmp_path / 'new' / 'mean.nii.gz').read_bytes() == b'whole'


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(UserError, match=r'file/out\.txt: cannot be written'):
        atomic.write_text(tmp_path / 'file' / 'out.txt', 'text')
