"""The split of subjects into training, validation and test, seeded or as decided before; shares of many subjects."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.subjects import Subject
from tfp_bruno.errors import UserError

MIN_TRAIN = 2
MIN_TEST = 1
# With fewer training subjects, each of them is needed for training.
LEAST_FOR_VALIDATION = 10
# A group that has more of the training subjects than this is not left out.
MOST_OF_TRAINING = 1 / 3


def split_subjects(subjects: Sequence[Subject], definition: DatasetDefinition, seed: int) -> list[Subject]:
    """Assigns every subject to a split.

    Args:
        subjects: The subjects; if all of them have a split already, it is kept.
        definition: Dataset; its `test_share` of the subjects, rounded and at least 1, is the test split.
        seed: Seed of the random split.

    Returns:
        The same subjects with split 'train' or 'test', or the split that they have. All volumes of one subject are in
        the same split.

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


def leave_out_validation(subjects: Sequence[Subject], share: float, seed: int) -> list[Subject]:
    """Moves some training subjects to the validation split, whole groups of them if they have groups.

    Args:
        subjects: The subjects with their splits; if some are in the validation split already, nothing is moved.
        share: Share of the training subjects, rounded and at least 1; 0 for none. Groups are taken in random order
            while they fit into it; if none fits, the smallest is taken.
        seed: Seed of the random choice.

    Returns:
        The same subjects. None are moved if there are fewer than 10 training subjects, or if the smallest group has
        more than a third of them. All volumes of one subject are in the same split.
    """
    groups: dict[str, set[str]] = {}
    for subject in subjects:
        if subject.split == 'train':
            # A name may be that of a group, too.
            groups.setdefault(f'group {subject.group}' if subject.group else subject.name, set()).add(subject.name)
    count = len(set().union(*groups.values()))
    given = any(subject.split == 'validation' for subject in subjects)
    if given or not share or count < LEAST_FOR_VALIDATION:
        return list(subjects)
    wanted, chosen = max(1, round(share * count)), set[str]()
    # Not the stream that chooses the test subjects.
    order = np.random.default_rng([seed, 1]).permutation(sorted(groups)).tolist()
    for group in order:
        if len(chosen) + len(groups[group]) <= wanted:
            chosen |= groups[group]
    smallest = min(order, key=lambda group: len(groups[group]))
    if not chosen and len(groups[smallest]) <= MOST_OF_TRAINING * count:
        chosen = groups[smallest]
    return [
        dataclasses.replace(s, split='validation') if s.split == 'train' and s.name in chosen else s for s in subjects
    ]


def apply_split(subjects: Sequence[Subject], splits: Mapping[str, str]) -> list[Subject]:
    """Assigns subjects to the splits that were decided before.

    Args:
        subjects: The subjects.
        splits: 'train', 'validation' or 'test' keyed by subject, as `read_split` returns it.

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


@dataclasses.dataclass(frozen=True)
class Shard:
    """Every `count`-th subject, from the `number`-th on.

    Attributes:
        number: Number of the shard, from 1 to `count`.
        count: Number of shards.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """Returns the shard of a text such as '2/8'.

        Raises:
            UserError: If it is no such text, or there is no shard of that number.
        """
        match = re.fullmatch(r'(\d{1,9})/(\d{1,9})', text, re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f'`shard={text}`: give number/count, such as 2/8, with numbers from 1 to the count.')
        return cls(int(match[1]), int(match[2]))

    def indices(self, total: int) -> range:
        """Returns the indices of the shard's subjects among `total`; the shards differ by one subject at most."""
        return range(self.number - 1, total, self.count)

    def __str__(self) -> str:
        return f'{self.number}/{self.count}'
