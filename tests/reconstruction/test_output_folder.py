"""An output folder appears complete or not at all, and keeps its other files."""

import contextlib
import hashlib
import itertools
import json
import pathlib

import pytest

from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction.output_folder import check_output_dir, staged


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_staged_new_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / 'new' / 'out'
    with pytest.raises(RuntimeError), staged(out, False, 'about.json') as folder:
        (folder / 'a.txt').write_text('half')
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with staged(out, False, 'about.json') as folder:
        (folder / 'samples').mkdir()
        (folder / 'samples' / 'a.txt').write_text('whole')
        (folder / 'about.json').write_text('{"seed": 0}')
        assert not out.exists()
    assert names(tmp_path) == ['new/out/about.json', 'new/out/samples/a.txt']
    digest = hashlib.sha256(b'whole').hexdigest()
    assert json.loads((out / 'about.json').read_text()) == {'seed': 0, 'outputs': [['samples/a.txt', digest]]}


def test_check_output_dir_refuses_a_folder_with_files(tmp_path):
    (tmp_path / 'mine.txt').write_text('mine')
    with pytest.raises(UserError, match=r'is not empty; give another `output_dir`, or set `overwrite`'):
        check_output_dir(tmp_path, overwrite=False)
    assert names(tmp_path) == ['mine.txt']


def write_result(out, files, overwrite=True):
    """Writes a result of some files."""
    with staged(out, overwrite, 'about.json') as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        (folder / 'about.json').write_text('{}')


def test_staged_overwrite_removes_only_what_an_earlier_result_wrote(tmp_path):
    write_result(tmp_path / 'out', {'mean': 'old', 'std': 'old', 'samples/0': 'old', 'samples/1': 'old'})
    mine = {'mine.txt': 'mine', 'samples/sample_mine': 'mine', 'std': 'edited by me', 'report': 'mine'}
    for name, text in mine.items():
        (tmp_path / 'out' / name).write_text(text)
    (tmp_path / 'outside').write_text('mine')
    about = json.loads((tmp_path / 'out' / 'about.json').read_text())
    outside = hashlib.sha256(b'mine').hexdigest()
    about['outputs'] += [['../outside', outside], [str(tmp_path / 'outside'), outside]]
    (tmp_path / 'out' / 'about.json').write_text(json.dumps(about))
    write_result(tmp_path / 'out', {'mean': 'new', 'samples/0': 'new'})
    found = {name: (tmp_path / 'out' / name).read_text() for name in names(tmp_path / 'out') if name != 'about.json'}
    assert found == {**mine, 'mean': 'new', 'samples/0': 'new'}
    assert (tmp_path / 'outside').exists()


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize('moment', range(6))
def test_staged_kill_between_two_files_leaves_no_complete_result(tmp_path, monkeypatch, moment):
    out, move, moves = tmp_path / 'out', pathlib.Path.replace, itertools.count()
    write_result(out, {'mean': 'old', 'samples/0': 'old', 'samples/1': 'old', 'samples/2': 'old'})

    def move_or_die(path, target):
        if next(moves) == moment:
            raise Killed
        return move(path, target)

    monkeypatch.setattr(pathlib.Path, 'replace', move_or_die)
    with contextlib.suppress(Killed):
        write_result(out, {'mean': 'new', 'report': 'new', 'samples/0': 'new', 'samples/3': 'new'})
    texts = {(out / name).read_text() for name in ('mean', 'samples/0')}
    # Move 0 is that of the list, move 5 that of the sidecar.
    assert (out / 'about.json').exists() == (moment == 0)
    assert (out / 'samples/1').exists() == (moment == 0)
    assert texts <= {'old', 'new'}
    monkeypatch.setattr(pathlib.Path, 'replace', move)
    write_result(out, {'mean': 'last', 'samples/0': 'last'})
    assert names(out) == ['about.json', 'mean', 'samples/0']


def test_check_output_dir_accepts_an_empty_folder_and_leaves_no_trace(tmp_path):
    (tmp_path / 'empty').mkdir()
    check_output_dir(tmp_path / 'empty', overwrite=False)
    check_output_dir(tmp_path / 'a' / 'b', overwrite=False)
    assert [path.name for path in tmp_path.rglob('*')] == ['empty']
    write_result(tmp_path / 'empty', {'a': 'a'}, overwrite=False)
    assert names(tmp_path) == ['empty/a', 'empty/about.json']


@pytest.mark.parametrize('below', ['', 'out'])
def test_check_output_dir_refuses_a_file_in_the_way(tmp_path, below):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(UserError, match=r'cannot be written .*; give another `output_dir`'):
        check_output_dir(tmp_path / 'file' / below, overwrite=True)
    assert (tmp_path / 'file').read_text() == 'mine'
