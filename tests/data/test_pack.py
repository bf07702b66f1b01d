"""A pack on disk holds what was written, or is not there."""

import concurrent.futures
import errno
import itertools
import os
import pathlib

import numpy as np
import pytest

from tfp_bruno.data.pack import MOST_PACKS, PackWriter, read_pack
from tfp_bruno.errors import UserError

SHAPE = (5, 3, 4)
ITEMS = np.random.default_rng(0).uniform(size=SHAPE).astype(np.float32)
TABLE = {'names': list('abcde'), 'boxes': [[1.0, 2.0]] * 5}


def write(path):
    """Writes a pack from several threads."""
    with PackWriter(path, SHAPE) as writer, concurrent.futures.ThreadPoolExecutor(2) as executor:
        list(executor.map(writer.__setitem__, range(len(ITEMS)), ITEMS))
        return writer.finish(TABLE)


def test_read_pack_returns_what_was_written(tmp_path):
    path = tmp_path / 'packs' / 'a.npy'
    for pack in (write(path), read_pack(path, SHAPE, TABLE)):
        assert isinstance(pack.items, np.memmap)
        assert not pack.items.flags.writeable
        np.testing.assert_array_equal(pack.items, ITEMS)
        assert pack.table == TABLE


def test_pack_writer_leaves_nothing_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), PackWriter(tmp_path / 'a.npy', SHAPE) as writer:
        writer[0] = ITEMS[0]
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_pack_writer_keeps_items_in_memory_if_the_folder_cannot_be_written(tmp_path, caplog):
    (tmp_path / 'file').write_text('in the way')
    pack = write(tmp_path / 'file' / 'a.npy')
    np.testing.assert_array_equal(pack.items, ITEMS)
    assert pack.table == TABLE
    assert 'The volumes are kept in memory' in caplog.text


def test_read_pack_refuses_another_shape_or_table(tmp_path):
    path = tmp_path / 'a.npy'
    assert read_pack(path, SHAPE, TABLE) is None
    write(path)
    assert read_pack(path, (6, 3, 4), TABLE) is None
    assert read_pack(path, SHAPE, ['names']) is None
    path.with_suffix('.json').write_text('[1]')
    assert read_pack(path, SHAPE, TABLE) is None


def test_finish_removes_the_least_recently_used_packs(tmp_path):
    for index in range(MOST_PACKS + 2):
        write(tmp_path / f'{index}.npy')
        read_pack(tmp_path / '0.npy', SHAPE, TABLE)
    kept = sorted(path.stem for path in tmp_path.glob('*.npy'))
    assert len(kept) == MOST_PACKS
    assert '0' in kept
    assert kept == sorted(path.stem for path in tmp_path.glob('*.json'))


def full_disk(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_pack_writer_writes_until_an_item_is_complete(tmp_path, monkeypatch):
    write_some = os.pwrite
    monkeypatch.setattr(os, 'pwrite', lambda file, content, offset: write_some(file, content[:7], offset))
    pack = write(tmp_path / 'a.npy')
    assert isinstance(pack.items, np.memmap)
    np.testing.assert_array_equal(pack.items, ITEMS)


def test_pack_writer_takes_its_space_at_once(tmp_path):
    with PackWriter(tmp_path / 'a.npy', (100, 64, 64)):
        [path] = tmp_path.iterdir()
        assert path.stat().st_blocks * 512 >= 100 * 64 * 64 * 4


@pytest.mark.parametrize('fails', ['posix_fallocate', 'third write', 'pwrite', 'fsync', 'replace'])
def test_pack_writer_keeps_items_in_memory_if_the_disk_is_full(tmp_path, monkeypatch, caplog, fails):
    write_all, calls = os.pwrite, itertools.count()

    def write_two(*arguments):
        return write_all(*arguments) if next(calls) < 2 else full_disk()

    if fails == 'replace':
        monkeypatch.setattr(pathlib.Path, 'replace', full_disk)
    else:
        name = 'pwrite' if fails == 'third write' else fails
        monkeypatch.setattr(os, name, write_two if fails == 'third write' else full_disk)
    pack = write(tmp_path / 'packs' / 'a.npy')
    assert not isinstance(pack.items, np.memmap)
    np.testing.assert_array_equal(pack.items, ITEMS)
    assert caplog.text.count('The volumes are kept in memory') == 1
    assert 'No space left on device' in caplog.text
    assert not list((tmp_path / 'packs').glob('*.npy'))
    assert read_pack(tmp_path / 'packs' / 'a.npy', SHAPE, TABLE) is None


def test_pack_writer_never_returns_items_that_were_lost(tmp_path, monkeypatch):
    with PackWriter(tmp_path / 'a.npy', SHAPE) as writer:
        writer[0] = ITEMS[0]
        [path] = tmp_path.iterdir()
        path.write_bytes(bytes(path.stat().st_size))
        monkeypatch.setattr(os, 'pwrite', full_disk)
        with pytest.raises(UserError, match=r'cannot be read \(what was written differs') as caught:
            writer[1] = ITEMS[1]
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('damage', ['one bit', 'zeros', 'short', 'items of another pack'])
def test_read_pack_refuses_damaged_items(tmp_path, damage):
    path = tmp_path / 'a.npy'
    write(path)
    content = bytearray(path.read_bytes())
    if damage == 'one bit':
        content[-5] ^= 1
    elif damage == 'zeros':
        content[-48:] = bytes(48)
    elif damage == 'short':
        del content[-1:]
    else:
        content[-240:] = ITEMS[::-1].tobytes()
    path.write_bytes(content)
    assert read_pack(path, SHAPE, TABLE) is None
