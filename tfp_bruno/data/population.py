"""A whole population: the stacks of all subjects, their names and splits, and where they came from."""

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfp_bruno.data.cache import default_cache_dir, load_stack
from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.file_names import name_some
from tfp_bruno.data.folder import one_error
from tfp_bruno.data.frame import TrainingFrame, common_frame
from tfp_bruno.data.pack import load_pack
from tfp_bruno.data.placement import Box, warn_of_outliers
from tfp_bruno.data.split import apply_split, split_subjects
from tfp_bruno.data.subjects import Subject, find_training_files
from tfp_bruno.errors import UserError, warn

PHANTOM_GENERATOR = 'tfp_bruno phantom'


@dataclasses.dataclass(frozen=True)
class Population:
    """The stacks of a population.

    Attributes:
        images: float32 `[S, K, H, W]` in [0, 1], not to be written to: memory-mapped where there is a cache.
        names: the S subjects.
        splits: 'train' or 'test' for each.
        is_phantom: whether the data are synthetic.
        description: one line that says what the data are.
        frame: where the stacks lie in their world, and how thick the slices are; None if that is not known.
    """

    images: np.ndarray
    names: tuple[str, ...]
    splits: tuple[str, ...]
    is_phantom: bool
    description: str
    frame: TrainingFrame | None = None

    @property
    def splits_by_name(self) -> dict[str, str]:
        """The split keyed by subject, as `write_split` writes it."""
        return dict(zip(self.names, self.splits, strict=True))

    def subset(self, split: str) -> 'Population':
        """Returns the subjects of one split.

        Args:
            split: 'train', 'test' or 'all'.

        Returns:
            A Population of those subjects, in the same order.

        Raises:
            UserError: if there is no such split, or nobody in it.
        """
        if split == 'all':
            return self
        chosen = [index for index, value in enumerate(self.splits) if value == split]
        if not chosen:
            raise UserError(f'--split={split}: no subject is in it; give train, test or all.')
        names, splits = tuple(self.names[i] for i in chosen), tuple(self.splits[i] for i in chosen)
        # Subjects side by side need no copy.
        together = chosen[-1] - chosen[0] + 1 == len(chosen)
        images = self.images[chosen[0] : chosen[-1] + 1] if together else self.images[chosen]
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
) -> Population:
    """Loads a population from a folder of volumes.

    Args:
        definition: the dataset.
        data_dir: a folder of volumes, flat or BIDS.
        cache_dir: folder of the cache; None stands for `default_cache_dir()`.
        seed: of the split, where the data have none.
        jobs: number of threads that read and resample.
        splits: a split to reuse, 'train' or 'test' keyed by subject, instead of one of the data's own.
        needs_split: whether a split that is too small is an error; if not, data without a split of their own are all
            'test', whatever their number.
        use_masks: whether each volume has a mask beside it, see `MaskFinder`: what is outside becomes background.
        assume_ras: as of `read_volume`, of volumes and masks.

    Returns:
        The Population: training subjects first, in the order of the files.

    Raises:
        UserError: if the folder or volumes in it cannot be used, some but not all volumes are label maps, the subjects
            are too few, or one is in both splits.
    """
    data_dir = pathlib.Path(data_dir)
    cache_dir = default_cache_dir() if cache_dir is None else pathlib.Path(cache_dir)
    subjects = load_subjects(data_dir, definition, seed, splits, needs_split, use_masks)
    # Subjects of one split side by side are a part of the file that needs no copy.
    subjects = sorted(subjects, key=lambda subject: subject.split != 'train')
    load = functools.partial(load_stack, definition=definition, cache_dir=cache_dir, assume_ras=assume_ras)
    fill = functools.partial(_fill, subjects, data_dir, load, jobs)
    pack = load_pack(subjects, definition, cache_dir, fill, assume_ras)
    _check_no_copy_in_both(subjects, pack.contents)
    _check_label_maps(subjects, pack.label_maps, data_dir)
    is_phantom = is_phantom_folder(data_dir)
    # The folder's own name: tables and pictures, which are shown to others, have this as their title.
    kind, folder = 'phantom (synthetic) ' if is_phantom else '', data_dir.resolve().name
    description = f'{kind}volumes of {folder}, {len(subjects)} volumes'
    names, values = tuple(subject.name for subject in subjects), tuple(subject.decided_split for subject in subjects)
    boxes = [Box.from_array(box) for box in pack.boxes]
    warn_of_outliers(boxes, [subject.path for subject in subjects])
    trained_on = [box for box, subject in zip(boxes, subjects, strict=True) if subject.split == 'train'] or boxes
    affines = [np.array(affine) for affine in pack.affines]
    frame = common_frame(affines, pack.thicknesses, trained_on, pack.images.shape[1:])
    return Population(pack.images, names, values, is_phantom, description, frame)


def reading_of(info: Mapping[str, Any]) -> dict[str, bool]:
    """Returns how a run read its volumes, as keywords of `load_population`; of before there was a choice, plainly."""
    return {name: bool(info.get(name, False)) for name in ('use_masks', 'assume_ras')}


def load_subjects(data_dir, definition, seed, splits=None, needs_split=True, use_masks=False) -> list[Subject]:
    """Lists the subjects of a folder with their splits; the arguments and errors are those of `load_population`."""
    subjects = find_training_files(data_dir, use_masks)
    if splits is not None:
        return apply_split(subjects, splits)
    if needs_split:
        return split_subjects(subjects, definition, seed)
    return [dataclasses.replace(subject, split=subject.split or 'test') for subject in subjects]


def is_phantom_folder(data_dir: pathlib.Path) -> bool:
    """Tells whether a folder's `dataset_description.json` names the phantom as its generator."""
    try:
        description = json.loads((data_dir / 'dataset_description.json').read_text(encoding='utf-8'))
        generators = [str(generator.get('Name')) for generator in description.get('GeneratedBy', [])]
    except (OSError, ValueError, AttributeError, TypeError):
        return False
    return any(PHANTOM_GENERATOR in name for name in generators)


def _fill(subjects, data_dir, load, jobs, images) -> dict[str, list]:
    """Fills images `[S, K, H, W]`; returns what else a `Pack` has of every volume."""

    def read(index):
        subject = subjects[index]
        try:
            loaded = load(subject.path, mask=subject.mask)
        except UserError as error:
            return error
        stack, images[index] = loaded.stack, loaded.stack.images
        about = loaded.content, loaded.warnings, loaded.is_label_map
        return *about, stack.affine.tolist(), stack.slice_thickness, stack.box.to_array().tolist()

    with concurrent.futures.ThreadPoolExecutor(jobs) as executor:
        # disable=None: a bar on a terminal only.
        described = list(tqdm(executor.map(read, range(len(subjects))), 'volumes', len(subjects), disable=None))
    errors = [error for error in described if isinstance(error, UserError)]
    if errors:
        raise one_error(errors, data_dir, len(subjects))
    names = ('contents', 'warnings', 'label_maps', 'affines', 'thicknesses', 'boxes')
    return dict(zip(names, map(list, zip(*described, strict=True)), strict=True))


def _check_no_copy_in_both(subjects: Sequence[Subject], contents: Sequence[str]) -> None:
    """Raises a UserError if the very same volume is in both splits under two names."""
    first: dict[str, Subject] = {}
    for subject, content in zip(subjects, contents, strict=True):
        other = first.setdefault(content, subject)
        if other.split != subject.split:
            raise UserError(
                f'{subject.path}: is the same volume as {other.path}, so one subject is in both splits; remove one.'
            )


def _check_label_maps(subjects: Sequence[Subject], are_label_maps: Sequence[bool], folder: pathlib.Path) -> None:
    """Raises a UserError if some volumes look like label maps; warns if all do, since then they are what is learnt."""
    found = [subject.path for subject, is_one in zip(subjects, are_label_maps, strict=True) if is_one]
    if len(found) == len(subjects):
        warn(f'{folder}: every volume looks like a label map or a mask; the labels are taken for intensities.')
    elif found:
        raise UserError(
            f'{folder}: {len(found)} of {len(subjects)} volumes look like label maps or masks, not intensities '
            f'({name_some(found)}); remove them, or name them as _seg or _mask.'
        )
