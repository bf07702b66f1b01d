"""A pack on disk holds what was written, or is not there."""

import concurrent.futures

import numpy as np
import pytest

from tfp_bruno.data.pack import MOST_PACKS, PackWriter, read_pack

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
