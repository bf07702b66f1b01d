"""Files are replaced completely or not at all."""

import pytest

from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError


def test_replacing_keeps_the_old_file_after_an_error(tmp_path):
    path = tmp_path / 'table.tsv'
    atomic.write_text(path, 'old')
    with pytest.raises(RuntimeError), atomic.replacing(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['table.tsv']


def test_replacing_yields_a_path_in_the_same_folder_with_the_same_suffix(tmp_path):
    with atomic.replacing(tmp_path / 'new' / 'mean.nii.gz') as temporary:
        assert temporary.parent == tmp_path / 'new'
        assert temporary.name.endswith('mean.nii.gz')
        temporary.write_bytes(b'whole')
    assert (tmp_path / 'new' / 'mean.nii.gz').read_bytes() == b'whole'


def test_write_text_raises_user_error_if_the_folder_cannot_be_created(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(UserError, match=r'file/out\.txt: cannot be written'):
        atomic.write_text(tmp_path / 'file' / 'out.txt', 'text')


def test_check_writable_leaves_nothing_behind(tmp_path):
    atomic.check_writable(tmp_path / 'new' / 'run')
    assert not list(tmp_path.iterdir())


def test_check_writable_names_folder_or_argument(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    folder = tmp_path / 'file' / 'run'
    for argument, place in ((None, folder), ('output_dir', f'`output_dir={folder}`')):
        with pytest.raises(UserError) as caught:
            atomic.check_writable(folder, argument)
        assert str(caught.value).startswith(f'{place}: cannot be written (')
