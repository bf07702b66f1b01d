"""The split of subjects into training and test: by subject, seeded, or as decided before."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.subjects import Subject
from tfp_bruno.errors import UserError

MIN_TRAIN = 2
MIN_TEST = 1


def split_subjects(subjects: Sequence[Subject], definition: DatasetDefinition, seed: int) -> list[Subject]:
    """Assigns every subject to a split.

    Args:
        subjects: The subjects; if all of them have a split already, it is kept.
        definition: Dataset; its `test_share` of the subjects, rounded and at least 1, is the test split.
        seed: Seed of the random split.

    Returns:
        The same subjects with split 'train' or 'test'. All volumes of one subject are in the same split.

    Raises:
        UserError: If fewer than 2 training subjects or 1 test subject would result.
    """
    folder = pathlib.Path(os.path.commonpath([subject.path.parent for subject in subjects]))
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
    """Assigns subjects to the splits that were decided before.

    Args:
        subjects: The subjects.
        splits: 'train' or 'test' keyed by subject, as `read_split` returns it.

    Returns:
        The same subjects with their split.

    Raises:
        UserError: If a subject is not in `splits`.
    """
    for subject in subjects:
        if subject.name not in splits:
            raise UserError(f'{subject.path}: {subject.name} is not in the split of the run; remove it or split again.')
    return [dataclasses.replace(subject, split=splits[subject.name]) for subject in subjects]


def _check_counts(splits: Mapping[str, str | None], folder: pathlib.Path) -> None:
    """Raises a UserError if a given split has too few training or test subjects."""
    for split, least in (('train', MIN_TRAIN), ('test', MIN_TEST)):
        count = sum(value == split for value in splits.values())
        if count < least:
            raise UserError(f'{folder}: its split has {count} {split} subjects, fewer than {least}; add volumes to it.')
