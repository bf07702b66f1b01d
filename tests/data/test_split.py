"""Splits are by subject, seeded, of the right size, and kept."""

import pathlib

import pytest

from tfp_bruno.data import Subject, apply_split, get_definition, read_split, split_subjects, write_split
from tfp_bruno.errors import UserError

FETAL = get_definition('fetal')


def subjects_of(names, splits=None):
    splits = splits or [None] * len(names)
    return [Subject(name, pathlib.Path('data') / f'{name}.nii', s) for name, s in zip(names, splits, strict=True)]


@pytest.mark.parametrize(
    ('count', 'dataset', 'num_test'), [(270, 'fetal', 20), (85, 'adni', 15), (58, 'thorax', 8), (3, 'fetal', 1)]
)
def test_the_sizes_are_the_papers_scaled(count, dataset, num_test):
    result = split_subjects(subjects_of([f's{i}' for i in range(count)]), get_definition(dataset), 0)
    assert sum(subject.split == 'test' for subject in result) == num_test
    assert sum(subject.split == 'train' for subject in result) == count - num_test


def test_the_seed_decides_and_the_order_of_the_files_does_not():
    subjects = subjects_of([f's{i}' for i in range(50)])
    first = {s.name: s.split for s in split_subjects(subjects, FETAL, 1)}
    assert first == {s.name: s.split for s in split_subjects(subjects[::-1], FETAL, 1)}
    assert first != {s.name: s.split for s in split_subjects(subjects, FETAL, 2)}


def test_all_volumes_of_a_subject_are_in_one_split():
    result = split_subjects(subjects_of(['a', 'b', 'c', 'd'] * 3), FETAL, 0)
    assert len({(subject.name, subject.split) for subject in result}) == 4


def test_a_given_split_is_kept_or_too_small():
    given = subjects_of(['a', 'b', 'c'], ['test', 'train', 'train'])
    assert split_subjects(given, FETAL, 0) == given
    with pytest.raises(UserError, match='data: its split has 0 test subjects, fewer than 1'):
        split_subjects(subjects_of(['a', 'b'], ['train', 'train']), FETAL, 0)
    with pytest.raises(UserError, match='1 train subjects, fewer than 2'):
        split_subjects(subjects_of(['a', 'b'], ['train', 'test']), FETAL, 0)


def test_too_few_subjects():
    with pytest.raises(UserError, match='data: holds 2 subjects; a split needs at least 3'):
        split_subjects(subjects_of(['a', 'b', 'b']), FETAL, 0)


def test_a_written_split_is_read_and_applied(tmp_path):
    splits = {'a': 'train', 'b': 'test'}
    write_split(tmp_path / 'run' / 'split.tsv', splits)
    assert read_split(tmp_path / 'run' / 'split.tsv') == splits
    assert [s.split for s in apply_split(subjects_of(['b', 'a', 'b']), splits)] == ['test', 'train', 'test']
    with pytest.raises(UserError, match='c is not in the split of the run'):
        apply_split(subjects_of(['c']), splits)
    (tmp_path / 'bad.tsv').write_text('participant_id\tsplit\na\t\n')
    with pytest.raises(UserError, match=r'bad\.tsv: a has no split'):
        read_split(tmp_path / 'bad.tsv')
