"""One large array on disk, written item by item and memory-mapped, with a table that describes the items."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import pathlib
import threading
import uuid
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from absl import logging

from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError

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
    """Returns a pack from disk, whose items are all read once to compare them with their hashes.

    Args:
        path: NumPy file of the items; the table is the JSON file beside it.
        shape: Expected shape of the items.
        columns: Expected columns of the table.

    Returns:
        The pack; None if it is missing, incomplete, damaged or not as expected.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, EOFError, KeyError):
        about = json.loads(path.with_suffix('.json').read_text(encoding='utf-8'))
        table, hashes = about['table'], about['hashes']
        complete = set(table) == set(columns) and {len(column) for column in table.values()} == {shape[0]}
        if complete and _hashes_of(path, shape) == hashes:
            # The least recently used packs are the oldest files.
            os.utime(path)
            return Pack(np.load(path, mmap_mode='r'), table)
    return None


class PackWriter:
    """Writes a pack item by item, from any thread: unlike in a mapped array, nothing of it stays in memory.

    Used as a context manager: without `finish`, nothing remains on disk. If the folder cannot be written, or its disk
    is full, the items are kept in memory, with a warning.
    """

    def __init__(self, path: pathlib.Path, shape: tuple[int, ...]):
        """Opens a temporary file beside that of the items, and takes its space on disk.

        Args:
            path: NumPy file of the items; its folder is created if it is missing.
            shape: Shape of the items.
        """
        self._path = path
        self._shape = shape
        self._temporary = path.with_name(f'.tmp-{uuid.uuid4().hex[:12]}-{path.name}')
        self._hashes: dict[int, str] = {}
        self._memory: np.ndarray | None = None
        # Items are written one at a time, so that none is missed when they move to memory.
        self._lock = threading.Lock()
        self._begin = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._begin = _reserve(self._temporary, shape)
        except OSError as error:
            self._move_to_memory(error)

    def __setitem__(self, index: int, item: np.ndarray) -> None:
        content = np.ascontiguousarray(item, np.float32).tobytes()
        digest = _hash(content)
        with self._lock:
            if self._memory is None:
                try:
                    with self._temporary.open('rb+', buffering=0) as file:
                        _write_at(file.fileno(), content, self._begin + index * len(content))
                except OSError as error:
                    self._move_to_memory(error)
            if self._memory is not None:
                self._memory[index] = item
            self._hashes[index] = digest

    def finish(self, table: Mapping[str, list[Any]]) -> Pack:
        """Moves the items into place, writes the table, and removes the packs that were not used for longest.

        Args:
            table: Columns of values that JSON can hold, see `Pack`.

        Returns:
            The pack.

        Raises:
            UserError: If the items were written but cannot be read back.
        """
        if self._memory is not None:
            return Pack(self._memory, table)
        hashes = [self._hashes[index] for index in range(self._shape[0])]
        try:
            with self._temporary.open('rb+') as file:
                os.fsync(file.fileno())
            # Before the items, which can still be moved to memory if that fails. With other items it does not count,
            # by its hashes.
            atomic.write_text(self._path.with_suffix('.json'), json.dumps({'table': table, 'hashes': hashes}))
            self._temporary.replace(self._path)
        except (OSError, UserError) as error:
            return Pack(self._move_to_memory(error), table)
        _remove_old_packs(self._path.parent)
        return Pack(np.load(self._path, mmap_mode='r'), table)

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _move_to_memory(self, error: Exception) -> np.ndarray:
        """Reads the items that were written, and gives their space back; further ones stay in memory.

        Args:
            error: Why they cannot stay on disk.

        Returns:
            The array of all items.

        Raises:
            UserError: If an item cannot be read back.
        """
        reason = getattr(error, 'strerror', None) or error
        logging.warning('The volumes are kept in memory: %s: %s', self._path.parent, reason)
        memory = np.empty(self._shape, np.float32)
        size = memory[0].nbytes if self._shape[0] else 0
        try:
            for index, digest in self._hashes.items():
                with self._temporary.open('rb') as file:
                    file.seek(self._begin + index * size)
                    content = file.read(size)
                if _hash(content) != digest:
                    raise OSError(errno.EIO, 'what was written differs from what is read')
                memory[index] = np.frombuffer(content, np.float32).reshape(self._shape[1:])
        except OSError as lost:
            raise UserError(
                f'{self._temporary}: cannot be read ({lost.strerror}); make room there, or give another `cache_dir`.'
            ) from error
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        self._memory = memory
        return memory


def _reserve(path: pathlib.Path, shape: tuple[int, ...]) -> int:
    """Writes the header of a NumPy file and takes the space of its items; returns where they begin."""
    with path.open('wb') as file:
        descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
        np.lib.format.write_array_header_1_0(file, {'descr': descr, 'fortran_order': False, 'shape': shape})
        file.flush()
        begin = file.tell()
        size = math.prod(shape) * np.dtype(np.float32).itemsize
        if hasattr(os, 'posix_fallocate') and size:
            # Without it, a page of a file with holes may find no space when it is read, which ends the process.
            os.posix_fallocate(file.fileno(), begin, size)
    return begin


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Writes all bytes at an offset: a single write may fall short."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest, offset = rest[written:], offset + written


def _hashes_of(path: pathlib.Path, shape: tuple[int, ...]) -> list[str] | None:
    """Returns the hash of each item of a NumPy file of float32; None if it has another shape or type."""
    with path.open('rb') as file:
        np.lib.format.read_magic(file)
        found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        if found != shape or fortran_order or dtype != np.float32:
            return None
        # Read, not mapped: where the disk fails this is an error, which the process survives.
        size = math.prod(shape[1:]) * dtype.itemsize
        return [_hash(file.read(size)) for _ in range(shape[0])]


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _remove_old_packs(folder: pathlib.Path) -> None:
    """Removes the least recently used packs; a process that has one open keeps it."""
    with contextlib.suppress(OSError):
        packs = sorted(folder.glob('[!.]*.npy'), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in packs[MOST_PACKS:]:
            old.with_suffix('.json').unlink(missing_ok=True)
            old.unlink(missing_ok=True)
