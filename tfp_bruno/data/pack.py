"""One large array on disk, written item by item and memory-mapped, with a table that describes the items."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from absl import logging

from tfp_bruno.data import atomic

# Packs that are kept in a folder.
MOST_PACKS = 4


@dataclasses.dataclass(frozen=True)
class Pack:
    """An array of items, and a table of them.

    Attributes:
        items: float32 `[S, ...]`, memory-mapped and read-only if it is on disk.
        table: Columns of S values that JSON can hold, keyed by name.
    """

    items: np.ndarray
    table: Mapping[str, list[Any]]


def read_pack(path: pathlib.Path, shape: tuple[int, ...], columns: Collection[str]) -> Pack | None:
    """Returns a pack from disk.

    Args:
        path: NumPy file of the items; the table is the JSON file beside it.
        shape: Expected shape of the items.
        columns: Expected columns of the table.

    Returns:
        The pack; None if it is missing, incomplete, or not as expected.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, EOFError):
        table = json.loads(path.with_suffix('.json').read_text(encoding='utf-8'))
        items = np.load(path, mmap_mode='r')
        complete = set(table) == set(columns) and {len(column) for column in table.values()} == {shape[0]}
        if items.shape == shape and items.dtype == np.float32 and complete:
            # The least recently used packs are the oldest files.
            os.utime(path)
            return Pack(items, table)
    return None


class PackWriter:
    """Writes a pack item by item, from any thread: unlike in a mapped array, nothing of it stays in memory.

    Used as a context manager: without `finish`, nothing remains on disk. If the folder cannot be written, the items
    are kept in memory, with a warning.
    """

    def __init__(self, path: pathlib.Path, shape: tuple[int, ...]):
        """Opens a temporary file beside that of the items.

        Args:
            path: NumPy file of the items; its folder is created if it is missing.
            shape: Shape of the items.
        """
        self._path = path
        self._temporary = path.with_name(f'.tmp-{os.getpid()}-{path.name}')
        self._memory: np.ndarray | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open('wb')
            descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
            np.lib.format.write_array_header_1_0(self._file, {'descr': descr, 'fortran_order': False, 'shape': shape})
            self._file.flush()
            self._begin = self._file.tell()
        except OSError as error:
            logging.warning('The volumes are kept in memory: %s: %s', path.parent, error.strerror or error)
            self._memory = np.empty(shape, np.float32)

    def __setitem__(self, index: int, item: np.ndarray) -> None:
        if self._memory is not None:
            self._memory[index] = item
            return
        content = np.ascontiguousarray(item, np.float32).tobytes()
        os.pwrite(self._file.fileno(), content, self._begin + index * len(content))

    def finish(self, table: Mapping[str, list[Any]]) -> Pack:
        """Moves the items into place, writes the table, and removes the packs that were not used for longest.

        Args:
            table: Columns of values that JSON can hold, see `Pack`.

        Returns:
            The pack.

        Raises:
            UserError: If the table cannot be written.
        """
        if self._memory is not None:
            return Pack(self._memory, table)
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)
        # Written last: a pack without a table is incomplete.
        atomic.write_text(self._path.with_suffix('.json'), json.dumps(table))
        _remove_old_packs(self._path.parent)
        return Pack(np.load(self._path, mmap_mode='r'), table)

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._memory is None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def _remove_old_packs(folder: pathlib.Path) -> None:
    """Removes the least recently used packs; a process that has one open keeps it."""
    with contextlib.suppress(OSError):
        packs = sorted(folder.glob('[!.]*.npy'), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in packs[MOST_PACKS:]:
            old.with_suffix('.json').unlink(missing_ok=True)
            old.unlink(missing_ok=True)
