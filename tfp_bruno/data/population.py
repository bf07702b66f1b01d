"""A population: the stacks of all subjects of a folder, with their names, splits and origin."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfp_bruno.data.cache import FORMAT_VERSION, LoadedStack, default_cache_dir, load_stack, repeat_warnings
from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.file_names import name_some
from tfp_bruno.data.folder import combine_errors
from tfp_bruno.data.frame import Box, TrainingFrame, common_frame
from tfp_bruno.data.pack import Pack, PackWriter, read_pack
from tfp_bruno.data.participants import SPLITS
from tfp_bruno.data.placement import warn_of_outliers
from tfp_bruno.data.plain_text import printable
from tfp_bruno.data.split import apply_split, leave_out_validation, split_subjects
from tfp_bruno.data.subjects import Subject, find_training_files
from tfp_bruno.errors import UserError, warn

PHANTOM_GENERATOR = 'tfp_bruno phantom'
# Table of a population's pack: what is kept of each volume beside its stack.
_COLUMNS: dict[str, Callable[[LoadedStack], Any]] = {
    'contents': lambda loaded: loaded.content,
    'warnings': lambda loaded: loaded.warnings,
    'label_maps': lambda loaded: loaded.is_label_map,
    'affines': lambda loaded: loaded.stack.affine.tolist(),
    'thicknesses': lambda loaded: loaded.stack.slice_thickness,
    'boxes': lambda loaded: loaded.stack.box.to_array().tolist(),
}


@dataclasses.dataclass(frozen=True)
class Population:
    """The stacks of a population.

    Attributes:
        images: Stacks in [0, 1], float32 `[S, K, H, W]`; read-only and memory-mapped if there is a cache.
        names: Names of the S subjects.
        splits: 'train', 'validation' or 'test' for each subject.
        is_phantom: Whether the data are synthetic.
        description: One line that describes the data.
        frame: Place of the stacks in their world, and thickness of the slices; None if unknown.
    """

    images: np.ndarray
    names: tuple[str, ...]
    splits: tuple[str, ...]
    is_phantom: bool
    description: str
    frame: TrainingFrame | None = None

    @property
    def splits_by_name(self) -> dict[str, str]:
        """The split keyed by subject, as `write_split` takes it."""
        return dict(zip(self.names, self.splits, strict=True))

    def subset(self, *wanted: str) -> Population:
        """Returns the subjects of some splits, in the same order.

        Args:
            *wanted: 'train', 'validation', 'test' or 'all'.

        Raises:
            UserError: If no subject is in the splits, or there is no such split.
        """
        if 'all' in wanted:
            return self
        chosen = [index for index, value in enumerate(self.splits) if value in wanted]
        if not chosen:
            raise UserError(f'`split={",".join(wanted)}`: no subject is in it; give {", ".join(SPLITS)} or all.')
        names, splits = tuple(self.names[i] for i in chosen), tuple(self.splits[i] for i in chosen)
        # Consecutive subjects need no copy.
        consecutive = chosen[-1] - chosen[0] + 1 == len(chosen)
        images = self.images[chosen[0] : chosen[-1] + 1] if consecutive else self.images[chosen]
        return dataclasses.replace(self, images=images, names=names, splits=splits)


def load_population(
    definition: DatasetDefinition,
    data_dir: str | os.PathLike,
    cache_dir: str | os.PathLike | None = None,
    seed: int = 0,
    jobs: int = 2,
    splits: Mapping[str, str] | None = None,
    needs_split: bool = True,
    use_masks: bool = False,
    assume_ras: bool = False,
    validation_share: float = 0.0,
) -> Population:
    """Loads a population from a folder of volumes.

    Args:
        definition: The dataset.
        data_dir: Folder of volumes, flat or BIDS, see `find_subjects`.
        cache_dir: Folder of the cache; None for `default_cache_dir()`.
        seed: Seed of the split, if the data have no split of their own.
        jobs: Number of threads that read and resample volumes.
        splits: Split to reuse instead of the data's own, keyed by subject.
        needs_split: Whether a split that is too small is an error. If not, subjects of data without a split of their
            own are all in 'test', whatever their number.
        use_masks: Whether each volume has a mask beside it, see `MaskFinder`: everything outside becomes background.
        assume_ras: See `read_volume`; applies to volumes and masks.
        validation_share: Share of the training subjects that are left out for validation, unless the split of the
            data has validation subjects or `splits` is given, see `leave_out_validation`.

    Returns:
        The population, training subjects first, then validation, then test, each split in the order of the files.

    Raises:
        UserError: If the folder or volumes in it cannot be used, some but not all volumes are label maps, the subjects
            are too few, or a test subject is in another split, too.
    """
    data_dir = pathlib.Path(data_dir)
    cache_dir = default_cache_dir() if cache_dir is None else pathlib.Path(cache_dir)
    subjects = load_subjects(data_dir, definition, seed, splits, needs_split, use_masks, validation_share)
    # Each split is a contiguous part of the file, which needs no copy.
    subjects = sorted(subjects, key=lambda subject: SPLITS.index(subject.decided_split))
    pack = _load_stacks(subjects, definition, data_dir, cache_dir, jobs, assume_ras)
    _check_no_copy_in_two(subjects, pack.table['contents'])
    _check_label_maps(subjects, pack.table['label_maps'], data_dir)
    is_phantom = is_phantom_folder(data_dir)
    # Only the folder's own name: this is the title of tables and figures, which are shown to others.
    kind, folder = 'phantom (synthetic) ' if is_phantom else '', printable(data_dir.resolve().name)
    description = f'{kind}volumes of {folder}, {len(subjects)} volumes'
    names, values = tuple(subject.name for subject in subjects), tuple(subject.decided_split for subject in subjects)
    boxes = [Box.from_array(box) for box in pack.table['boxes']]
    warn_of_outliers(boxes, [subject.path for subject in subjects])
    trained_on = [box for box, subject in zip(boxes, subjects, strict=True) if subject.split == 'train'] or boxes
    affines = [np.array(affine) for affine in pack.table['affines']]
    frame = common_frame(affines, pack.table['thicknesses'], trained_on, pack.items.shape[1:])
    return Population(pack.items, names, values, is_phantom, description, frame)


def load_subjects(
    data_dir: str | os.PathLike,
    definition: DatasetDefinition,
    seed: int,
    splits: Mapping[str, str] | None = None,
    needs_split: bool = True,
    use_masks: bool = False,
    validation_share: float = 0.0,
) -> list[Subject]:
    """Lists the subjects of a folder with their splits; arguments and errors are those of `load_population`."""
    subjects = find_training_files(data_dir, use_masks)
    if splits is not None:
        return apply_split(subjects, splits)
    if needs_split:
        return leave_out_validation(split_subjects(subjects, definition, seed), validation_share, seed)
    return [dataclasses.replace(subject, split=subject.split or 'test') for subject in subjects]


def is_phantom_folder(data_dir: pathlib.Path) -> bool:
    """Returns whether a folder's `dataset_description.json` names the phantom as its generator."""
    try:
        description = json.loads((data_dir / 'dataset_description.json').read_text(encoding='utf-8'))
        generators = [str(generator.get('Name')) for generator in description.get('GeneratedBy', [])]
    except (OSError, ValueError, AttributeError, TypeError):
        return False
    return any(PHANTOM_GENERATOR in name for name in generators)


def _load_stacks(
    subjects: Sequence[Subject],
    definition: DatasetDefinition,
    data_dir: pathlib.Path,
    cache_dir: pathlib.Path,
    jobs: int,
    assume_ras: bool,
) -> Pack:
    """Returns all stacks as one array with a table of their volumes, from the cache if it is there."""
    path = cache_dir / 'populations' / f'{_population_key(subjects, definition, assume_ras)}.npy'
    shape = (len(subjects), definition.num_slices, definition.image_size, definition.image_size)
    pack = read_pack(path, shape, _COLUMNS)
    if pack is not None:
        for subject, warnings in zip(subjects, pack.table['warnings'], strict=True):
            repeat_warnings(warnings, subject.path, subject.mask)
        return pack

    with PackWriter(path, shape) as writer, concurrent.futures.ThreadPoolExecutor(jobs) as executor:

        def read(index: int) -> dict[str, Any] | UserError:
            subject = subjects[index]
            try:
                loaded = load_stack(subject.path, definition, cache_dir, subject.mask, assume_ras)
            except UserError as error:
                return error
            writer[index] = loaded.stack.images
            return {name: value(loaded) for name, value in _COLUMNS.items()}

        # disable=None: a progress bar on terminals only.
        rows = list(tqdm(executor.map(read, range(len(subjects))), 'volumes', len(subjects), disable=None))
        errors = [row for row in rows if isinstance(row, UserError)]
        if errors:
            raise combine_errors(errors, data_dir, len(subjects))
        described = [row for row in rows if not isinstance(row, UserError)]
        return writer.finish({name: [row[name] for row in described] for name in _COLUMNS})


def _population_key(subjects: Sequence[Subject], definition: DatasetDefinition, assume_ras: bool) -> str:
    """Returns the SHA-256 of names, sizes and times of the files, the settings and the version of the format."""
    files = []
    for subject in subjects:
        for path in filter(None, (subject.path, subject.mask)):
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append([str(path.resolve()), status.st_size, status.st_mtime_ns, path == subject.mask])
    settings = [FORMAT_VERSION, dataclasses.asdict(definition), assume_ras, files]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _check_no_copy_in_two(subjects: Sequence[Subject], contents: Sequence[str]) -> None:
    """Raises a UserError if a test volume is in another split under another name; warns of one in validation."""
    first: dict[str, Subject] = {}
    for subject, content in zip(subjects, contents, strict=True):
        other = first.setdefault(content, subject)
        if other.split == subject.split:
            continue
        message = f'{subject.path}: is the same volume as {other.path}, so one subject is in two splits; remove one.'
        if 'test' in (other.split, subject.split):
            raise UserError(message)
        warn(message)


def _check_label_maps(subjects: Sequence[Subject], are_label_maps: Sequence[bool], folder: pathlib.Path) -> None:
    """Raises a UserError if some volumes look like label maps; warns if all do, since they may be meant."""
    found = [subject.path for subject, is_one in zip(subjects, are_label_maps, strict=True) if is_one]
    if len(found) == len(subjects):
        warn(f'{folder}: every volume looks like a label map or a mask; the labels are used as intensities.')
    elif found:
        raise UserError(
            f'{folder}: {len(found)} of {len(subjects)} volumes look like label maps or masks, not intensities '
            f'({name_some(found)}); remove them, or name them as _seg or _mask.'
        )
