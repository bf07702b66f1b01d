"""All stacks of a population as one memory-mapped file: memory does not grow with their number."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from tfp_bruno.data import atomic
from tfp_bruno.data.cache import FORMAT_VERSION, tell_again
from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.subjects import Subject

# Populations whose packs are kept; the stacks of a volume by itself are always.
MOST_PACKS = 4


@dataclasses.dataclass(frozen=True)
class Pack:
    """The stacks of a population.

    Attributes:
        images: float32 `[S, K, H, W]` in [0, 1], memory-mapped and read-only where there is a cache.
        contents: what stands for the voxels of each volume.
        affines: `[4, 4]` of each stack, as nested lists.
        thicknesses: of the slices of each volume, mm.
        boxes: where the anatomy lies in each file, as `Box.to_array` has it, in nested lists.
        warnings: what was said of each volume, as `LoadedStack` has it.
        label_maps: whether each volume looks like a label map.
    """

    images: np.ndarray
    contents: Sequence[str]
    affines: Sequence[Sequence[Sequence[float]]]
    thicknesses: Sequence[float]
    boxes: Sequence[Sequence[Sequence[float]]]
    warnings: Sequence[Sequence[str]]
    label_maps: Sequence[bool]


def load_pack(
    subjects: Sequence[Subject],
    definition: DatasetDefinition,
    cache_dir: pathlib.Path,
    fill: Callable[['np.ndarray | _PackFile'], dict[str, list]],
    assume_ras: bool = False,
) -> Pack:
    """Returns the pack of a population: the one on disk, whose warnings are told again, or a new one.

    Args:
        subjects: the volumes. The pack is found again by the paths, sizes and times of their files and masks.
        definition: the settings of the preprocessing.
        cache_dir: the cache folder; where it cannot be written, the stacks stay in memory, with a warning.
        fill: sets every image by its index, from any thread, and returns the other attributes of the Pack.
        assume_ras: as of `read_volume`.

    Returns:
        The Pack.

    Raises:
        UserError: if a volume cannot be used.
    """
    folder = cache_dir / 'populations'
    images = folder / f'{_pack_key(subjects, definition, assume_ras)}.npy'
    shape = (len(subjects), definition.num_slices, definition.image_size, definition.image_size)
    pack = _open_pack(images, shape)
    if pack is not None:
        for subject, warnings in zip(subjects, pack.warnings, strict=True):
            tell_again(warnings, subject.path, subject.mask)
        return pack
    try:
        # Not inside: what goes wrong with a volume is no fault of the cache.
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f'.tmp-{os.getpid()}-{images.name}'
        file = _PackFile(temporary, shape)
    except OSError as error:
        logging.warning('The volumes are kept in memory: %s: %s', folder, error.strerror or error)
        array = np.empty(shape, np.float32)
        return Pack(array, **fill(array))
    try:
        with file:
            described = fill(file)
        temporary.replace(images)
        # The description comes last: a pack without one is not whole.
        atomic.write_text(images.with_suffix('.json'), json.dumps(described))
    finally:
        temporary.unlink(missing_ok=True)
    _remove_old_packs(folder)
    return Pack(np.load(images, mmap_mode='r'), **described)


class _PackFile:
    """A NumPy file that is written subject by subject: nothing of it stays in memory, as of a mapped array."""

    def __init__(self, path: pathlib.Path, shape: tuple[int, ...]):
        """Writes the header."""
        self._file = path.open('wb')
        header = {'descr': np.lib.format.dtype_to_descr(np.dtype(np.float32)), 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.flush()
        self._begin = self._file.tell()

    def __setitem__(self, index: int, images: np.ndarray):
        content = np.ascontiguousarray(images, np.float32).tobytes()
        os.pwrite(self._file.fileno(), content, self._begin + index * len(content))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.fsync(self._file.fileno())
        self._file.close()


def _pack_key(subjects: Sequence[Subject], definition: DatasetDefinition, assume_ras: bool) -> str:
    """Returns what stands for the files, the settings and the version of the format."""
    files = []
    for subject in subjects:
        for path in filter(None, (subject.path, subject.mask)):
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append([str(path.resolve()), status.st_size, status.st_mtime_ns, path == subject.mask])
    settings = [FORMAT_VERSION, definition.to_json(), assume_ras, files]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _open_pack(images: pathlib.Path, shape: tuple[int, ...]) -> Pack | None:
    """Returns a pack on disk, or None if it is missing or not whole."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, EOFError):
        described = json.loads(images.with_suffix('.json').read_text(encoding='utf-8'))
        array = np.load(images, mmap_mode='r')
        pack = Pack(array, **described)
        counts = set(map(len, described.values()))
        if array.shape == shape and array.dtype == np.float32 and counts == {shape[0]}:
            # So that the oldest are those that were not used for longest.
            os.utime(images)
            return pack
    return None


def _remove_old_packs(folder: pathlib.Path) -> None:
    """Removes the packs that were not used for longest; a process that reads one keeps it."""
    with contextlib.suppress(OSError):
        packs = sorted(folder.glob('[!.]*.npy'), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in packs[MOST_PACKS:]:
            old.with_suffix('.json').unlink(missing_ok=True)
            old.unlink(missing_ok=True)
