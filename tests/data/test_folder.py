"""Volumes are found in flat and BIDS folders; folders that cannot be used are named."""

import pytest

from tfp_bruno.data import find_subjects
from tfp_bruno.errors import UserError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_flat_without_masks_hidden_files_and_others(tmp_path):
    touch(tmp_path, 'b.nii', 'a.nii.gz', 'a_mask.nii.gz', 'a_dseg.nii', '._a.nii.gz', 'notes.txt', 'mask.nii')
    touch(tmp_path, 'folder.nii/inside')
    subjects = find_subjects(tmp_path)
    assert [(s.name, s.path.name, s.split) for s in subjects] == [('a', 'a.nii.gz', None), ('b', 'b.nii', None)]


def test_flat_with_bids_names_groups_sessions_of_a_subject(tmp_path):
    touch(tmp_path, 'sub-1_ses-1_T2w.nii.gz', 'sub-1_ses-2_T2w.nii.gz', 'sub-2_T2w.nii.gz')
    assert [s.name for s in find_subjects(tmp_path)] == ['sub-1', 'sub-1', 'sub-2']


def test_bids_with_and_without_sessions(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-1_T2w.nii.gz', 'sub-1/anat/sub-1_desc-brain_mask.nii.gz', 'sub-1/func/x.nii.gz')
    touch(tmp_path, 'sub-2/ses-a/anat/sub-2_ses-a_T2w.nii.gz', 'sub-3/anat/T2w.nii', 'extra.nii.gz')
    assert [(s.name, s.path.name) for s in find_subjects(tmp_path)] == [
        ('sub-1', 'sub-1_T2w.nii.gz'),
        ('sub-2', 'sub-2_ses-a_T2w.nii.gz'),
        ('sub-3', 'T2w.nii'),
    ]


def test_several_kinds_of_one_subject(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-1_T2w.nii.gz', 'sub-1/anat/sub-1_T1w.nii.gz')
    with pytest.raises(UserError, match=r'sub-1 has volumes of several kinds \(T1w, T2w\)'):
        find_subjects(tmp_path)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match='none: there is no such folder'):
        find_subjects(tmp_path / 'none')
    touch(tmp_path, 'file.nii')
    with pytest.raises(UserError, match='is not a folder'):
        find_subjects(tmp_path / 'file.nii')
    touch(tmp_path, 'empty/notes.txt', 'masks/a_mask.nii.gz', 'bids/sub-1/func/a.nii.gz')
    for name in ('empty', 'masks', 'bids'):
        with pytest.raises(UserError, match=f'{name}: holds no volumes'):
            find_subjects(tmp_path / name)


def test_the_split_of_participants(tmp_path):
    touch(tmp_path, 'sub-1.nii', 'sub-2.nii')
    table = tmp_path / 'participants.tsv'
    table.write_text('participant_id\tage\tsplit\nsub-1\t30\ttrain\nsub-2\t31\ttest\nsub-9\t31\ttest\n')
    assert [s.split for s in find_subjects(tmp_path)] == ['train', 'test']
    table.write_text('participant_id\tage\nsub-1\t30\n')
    assert [s.split for s in find_subjects(tmp_path)] == [None, None]
    table.write_text('participant_id\tsplit\nsub-1\ttrain\n')
    with pytest.raises(UserError, match=r'participants\.tsv: sub-2 has a volume but no split'):
        find_subjects(tmp_path)
