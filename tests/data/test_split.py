"""Splits are by subject, seeded and of the right size; shards hold every subject once."""

import dataclasses
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.data import Shard, Subject, apply_split, get_definition, split_subjects
from tfp_bruno.data.split import leave_out_validation
from tfp_bruno.errors import UserError

FETAL = get_definition('fetal')


def subjects_of(names, splits=None):
    splits = splits or [None] * len(names)
    return [Subject(name, pathlib.Path('data') / f'{name}.nii', s) for name, s in zip(names, splits, strict=True)]


@pytest.mark.parametrize(
    ('count', 'dataset', 'num_test'), [(270, 'fetal', 20), (85, 'adni', 15), (58, 'thorax', 8), (3, 'fetal', 1)]
)
def test_split_subjects_has_the_test_shares_of_the_paper(count, dataset, num_test):
    result = split_subjects(subjects_of([f's{i}' for i in range(count)]), get_definition(dataset), 0)
    assert sum(subject.split == 'test' for subject in result) == num_test
    assert sum(subject.split == 'train' for subject in result) == count - num_test


def test_split_subjects_depends_on_the_seed_not_on_the_order():
    subjects = subjects_of([f's{i}' for i in range(50)])
    first = {s.name: s.split for s in split_subjects(subjects, FETAL, 1)}
    assert first == {s.name: s.split for s in split_subjects(subjects[::-1], FETAL, 1)}
    assert first != {s.name: s.split for s in split_subjects(subjects, FETAL, 2)}


def test_split_subjects_keeps_volumes_of_a_subject_together():
    result = split_subjects(subjects_of(['a', 'b', 'c', 'd'] * 3), FETAL, 0)
    assert len({(subject.name, subject.split) for subject in result}) == 4


def test_split_subjects_refuses_too_few_subjects():
    with pytest.raises(UserError, match='data: holds 2 subjects; a split needs at least 3'):
        split_subjects(subjects_of(['a', 'b', 'b']), FETAL, 0)


def test_split_subjects_keeps_a_given_split():
    given = subjects_of(['a', 'b', 'c'], ['test', 'train', 'train'])
    assert split_subjects(given, FETAL, 0) == given


def test_split_subjects_refuses_a_given_split_that_is_too_small():
    with pytest.raises(UserError, match='data: its split has 0 test subjects, fewer than 1'):
        split_subjects(subjects_of(['a', 'b'], ['train', 'train']), FETAL, 0)
    with pytest.raises(UserError, match='1 train subjects, fewer than 2'):
        split_subjects(subjects_of(['a', 'b'], ['train', 'test']), FETAL, 0)


def test_apply_split_assigns_the_splits_by_name():
    splits = {'a': 'train', 'b': 'test'}
    assert [s.split for s in apply_split(subjects_of(['b', 'a', 'b']), splits)] == ['test', 'train', 'test']
    with pytest.raises(UserError, match='c is not in the split of the run'):
        apply_split(subjects_of(['c']), splits)


def count_of(subjects, split):
    return len({subject.name for subject in subjects if subject.split == split})


def of_groups(*sizes):
    """Training subjects in groups of these sizes, and three test subjects."""
    subjects = subjects_of(['x', 'y', 'z'], ['test'] * 3)
    for group, size in enumerate(sizes):
        names = [f'g{group}-{index}' for index in range(size)]
        members = subjects_of(names, ['train'] * size)
        subjects += [dataclasses.replace(member, group=str(group)) for member in members]
    return subjects


@pytest.mark.parametrize(('count', 'share', 'expected'), [(250, 0.1, 25), (10, 0.1, 1), (14, 0.25, 4), (9, 0.1, 0)])
def test_leave_out_validation_takes_a_share_of_the_training_subjects(count, share, expected):
    given = subjects_of([f's{i}' for i in range(count)] + ['x', 'y'], ['train'] * count + ['test'] * 2)
    result = leave_out_validation(given, share, 0)
    assert [subject.name for subject in result] == [subject.name for subject in given]
    assert (count_of(result, 'validation'), count_of(result, 'train')) == (expected, count - expected)
    assert [subject.split for subject in result[-2:]] == ['test', 'test']
    assert leave_out_validation(given, 0.0, 0) == given


def test_leave_out_validation_depends_on_the_seed_and_keeps_volumes_of_a_subject_together():
    subjects = subjects_of([f's{i}' for i in range(50)] * 2, ['train'] * 100)
    chosen = [{s.name for s in leave_out_validation(subjects, 0.1, seed) if s.split == 'validation'} for seed in (1, 2)]
    assert chosen[0] != chosen[1]
    result = leave_out_validation(subjects[::-1], 0.1, 1)
    assert {s.name for s in result if s.split == 'validation'} == chosen[0]
    assert len({(subject.name, subject.split) for subject in result}) == 50


@pytest.mark.parametrize(
    ('sizes', 'expected'), [((10,) * 10, 10), ((30,) * 8, 30), ((4, 3, 50, 43), 7), ((50, 50), 0), ((100,), 0)]
)
def test_leave_out_validation_takes_whole_groups(sizes, expected):
    result = leave_out_validation(of_groups(*sizes), 0.1, 3)
    assert count_of(result, 'validation') == expected
    left_out = {subject.group for subject in result if subject.split == 'validation'}
    assert left_out.isdisjoint(subject.group for subject in result if subject.split == 'train')


def test_leave_out_validation_keeps_that_of_the_data():
    given = subjects_of([f's{i}' for i in range(40)], ['train'] * 37 + ['validation'] * 2 + ['test'])
    assert leave_out_validation(given, 0.5, 0) == given


@given(st.integers(1, 20), st.integers(0, 50))
def test_shards_hold_every_subject_once(count, total):
    shards = [Shard.parse(f'{number}/{count}').indices(total) for number in range(1, count + 1)]
    assert sorted(index for shard in shards for index in shard) == list(range(total))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(
    'text', ['', '2', '0/2', '3/2', '1/0', '-1/2', '1/2/3', 'a/b', '1 / 2', '1.0/2', '²/3', '1/2\n']
)
def test_shard_parse_refuses_other_texts(text):
    with pytest.raises(UserError, match='`shard='):
        Shard.parse(text)
