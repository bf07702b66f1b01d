"""An output folder appears complete or not at all, and keeps its other files."""

import pytest

from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction.output_folder import check_output_dir, staged


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_staged_new_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / 'new' / 'out'
    with pytest.raises(RuntimeError), staged(out, False, ['*.txt']) as folder:
        (folder / 'a.txt').write_text('half')
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with staged(out, False, ['*.txt']) as folder:
        (folder / 'samples').mkdir()
        (folder / 'samples' / 'a.txt').write_text('whole')
        assert not out.exists()
    assert names(tmp_path) == ['new/out/samples/a.txt']


def test_check_output_dir_refuses_a_folder_with_files(tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    with pytest.raises(UserError, match=r'is not empty; give another `output_dir`, or set `overwrite`'):
        check_output_dir(tmp_path, overwrite=False)
    assert names(tmp_path) == ['mine.txt']


def test_staged_overwrite_replaces_its_own_files_only(tmp_path):
    for name, text in (('mine.txt', 'mine'), ('mean', 'old'), ('sample_0', 'old'), ('sample_1', 'old')):
        (tmp_path / name).write_text(text)
    with staged(tmp_path, True, ['sample_*']) as folder:
        (folder / 'mean').write_text('new')
        (folder / 'sample_0').write_text('new')
        assert (tmp_path / 'mean').read_text() == 'old'
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == {
        'mine.txt': 'mine',
        'mean': 'new',
        'sample_0': 'new',
    }


def test_check_output_dir_accepts_an_empty_folder_and_leaves_no_trace(tmp_path):
    (tmp_path / 'empty').mkdir()
    check_output_dir(tmp_path / 'empty', overwrite=False)
    check_output_dir(tmp_path / 'a' / 'b', overwrite=False)
    assert [path.name for path in tmp_path.rglob('*')] == ['empty']
    with staged(tmp_path / 'empty', False, ['*']) as folder:
        (folder / 'a').write_text('a')
    assert names(tmp_path) == ['empty/a']


@pytest.mark.parametrize('below', ['', 'out'])
def test_check_output_dir_refuses_a_file_in_the_way(tmp_path, below):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(UserError, match=r'cannot be written .*; give another `output_dir`'):
        check_output_dir(tmp_path / 'file' / below, overwrite=True)
    assert (tmp_path / 'file').read_text() == 'mine'
