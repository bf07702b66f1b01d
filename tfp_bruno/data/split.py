"""Dividing subjects into training and test: always by subject, seeded, and kept in a file."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tfp_bruno.data import atomic, participants
from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.subjects import Subject
from tfp_bruno.errors import UserError

MIN_TRAIN = 2
MIN_TEST = 1


def split_subjects(subjects: Sequence[Subject], definition: DatasetDefinition, seed: int) -> list[Subject]:
    """Fills in the split of every subject.

    Args:
        subjects: as found; where they have a split already, it is kept.
        definition: its `test_share` of the subjects, rounded, goes to the test split, at least 1.
        seed: of the random split.

    Returns:
        The same subjects with split 'train' or 'test'. All volumes of one subject are in the same split.

    Raises:
        UserError: if fewer than 2 training subjects or 1 test subject would result.
    """
    folder = _common_folder(subjects)
    if all(subject.split for subject in subjects):
        _check_counts({subject.name: subject.split for subject in subjects}, folder)
        return list(subjects)
    names = sorted({subject.name for subject in subjects})
    if len(names) < MIN_TRAIN + MIN_TEST:
        raise UserError(
            f'{folder}: holds {len(names)} subjects; a split needs at least {MIN_TRAIN + MIN_TEST}, add volumes.'
        )
    num_test = min(max(MIN_TEST, round(len(names) * definition.test_share)), len(names) - MIN_TRAIN)
    test = set(np.random.default_rng(seed).permutation(names)[:num_test].tolist())
    return [dataclasses.replace(s, split='test' if s.name in test else 'train') for s in subjects]


def apply_split(subjects: Sequence[Subject], splits: Mapping[str, str]) -> list[Subject]:
    """Gives subjects the split that was decided before.

    Args:
        subjects: as found.
        splits: 'train' or 'test' keyed by subject, as `read_split` returns it.

    Returns:
        The same subjects with their split.

    Raises:
        UserError: if a subject is not in `splits`.
    """
    for subject in subjects:
        if subject.name not in splits:
            raise UserError(f'{subject.path}: {subject.name} is not in the split of the run; remove it or split again.')
    return [dataclasses.replace(subject, split=splits[subject.name]) for subject in subjects]


def write_split(path: str | os.PathLike, splits: Mapping[str, str]) -> None:
    """Writes the split beside a run, as a `participants.tsv` that `read_split` takes back.

    Args:
        path: the tab-separated file to write, atomically.
        splits: 'train' or 'test' keyed by subject.

    Raises:
        UserError: if the file cannot be written.
    """
    rows = [f'{name}\t{split}' for name, split in splits.items()]
    atomic.write_text(path, '\n'.join(['participant_id\tsplit', *rows]) + '\n')


def read_split(path: str | os.PathLike) -> dict[str, str]:
    """Reads a split that `write_split` wrote.

    Args:
        path: the tab-separated file.

    Returns:
        'train' or 'test' keyed by subject.

    Raises:
        UserError: if the file cannot be read, is malformed, or leaves a subject without a split.
    """
    splits = {}
    for name, split in participants.read_participants(path).items():
        if split is None:
            raise UserError(f'{path}: {name} has no split; write train or test for it.')
        splits[name] = split
    return splits


def _check_counts(splits: Mapping[str, str | None], folder: pathlib.Path) -> None:
    """Raises a UserError if a given split has too few subjects on either side."""
    for split, least in (('train', MIN_TRAIN), ('test', MIN_TEST)):
        count = sum(value == split for value in splits.values())
        if count < least:
            raise UserError(f'{folder}: its split has {count} {split} subjects, fewer than {least}; add volumes to it.')


def _common_folder(subjects: Sequence[Subject]) -> pathlib.Path:
    """Returns the folder that holds all the subjects' volumes."""
    return pathlib.Path(os.path.commonpath([subject.path.parent for subject in subjects]))
