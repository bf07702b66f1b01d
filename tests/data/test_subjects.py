"""Volumes are found in flat and BIDS folders; unusable folders are named."""

import os

import pytest

from tfp_bruno.data import find_subjects
from tfp_bruno.errors import UserError, collect_warnings


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_find_subjects_in_flat_folder_ignores_masks_and_hidden_files(tmp_path):
    touch(tmp_path, 'b.nii', 'a.nii.gz', 'a_mask.nii.gz', 'a_dseg.nii', '._a.nii.gz', 'notes.txt', 'mask.nii')
    touch(tmp_path, 'folder.nii/inside')
    subjects = find_subjects(tmp_path)
    assert [(s.name, s.path.name, s.split) for s in subjects] == [('a', 'a.nii.gz', None), ('b', 'b.nii', None)]


def test_find_subjects_in_flat_folder_groups_bids_sessions(tmp_path):
    touch(tmp_path, 'sub-1_ses-1_T2w.nii.gz', 'sub-1_ses-2_T2w.nii.gz', 'sub-2_T2w.nii.gz')
    assert [s.name for s in find_subjects(tmp_path)] == ['sub-1', 'sub-1', 'sub-2']


def test_find_subjects_in_bids_folder_with_and_without_sessions(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-1_T2w.nii.gz', 'sub-1/anat/sub-1_desc-brain_mask.nii.gz', 'sub-1/func/x.nii.gz')
    touch(tmp_path, 'sub-2/ses-a/anat/sub-2_ses-a_T2w.nii.gz', 'sub-3/anat/T2w.nii', 'extra.nii.gz')
    assert [(s.name, s.path.name) for s in find_subjects(tmp_path)] == [
        ('sub-1', 'sub-1_T2w.nii.gz'),
        ('sub-2', 'sub-2_ses-a_T2w.nii.gz'),
        ('sub-3', 'T2w.nii'),
    ]


def test_find_subjects_refuses_several_kinds_in_bids_folder(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-1_T2w.nii.gz', 'sub-1/anat/sub-1_T1w.nii.gz')
    with pytest.raises(UserError, match=r'sub-1 has volumes of several kinds \(T1w, T2w\)'):
        find_subjects(tmp_path)


def test_find_subjects_refuses_unusable_folders(tmp_path):
    with pytest.raises(UserError, match='none: there is no such folder'):
        find_subjects(tmp_path / 'none')
    touch(tmp_path, 'file.nii')
    with pytest.raises(UserError, match='is not a folder'):
        find_subjects(tmp_path / 'file.nii')
    touch(tmp_path, 'empty/notes.txt', 'masks/a_mask.nii.gz', 'bids/sub-1/func/a.nii.gz')
    for name in ('empty', 'masks', 'bids'):
        with pytest.raises(UserError, match=f'{name}: holds no volumes'):
            find_subjects(tmp_path / name)


def test_find_subjects_uses_the_split_of_participants(tmp_path):
    touch(tmp_path, 'sub-1.nii', 'sub-2.nii')
    table = tmp_path / 'participants.tsv'
    table.write_text('participant_id\tage\tsplit\nsub-1\t30\ttrain\nsub-2\t31\ttest\nsub-9\t31\ttest\n')
    assert [s.split for s in find_subjects(tmp_path)] == ['train', 'test']
    table.write_text('participant_id\tage\nsub-1\t30\n')
    assert [s.split for s in find_subjects(tmp_path)] == [None, None]
    table.write_text('participant_id\tsplit\nsub-1\ttrain\n')
    with pytest.raises(UserError, match=r'participants\.tsv: sub-2 has a volume but no split'):
        find_subjects(tmp_path)


def remarks_of(folder):
    """The subjects' files and the warnings of a folder."""
    with collect_warnings() as messages:
        subjects = find_subjects(folder)
    return [subject.path.name for subject in subjects], messages


def test_find_subjects_ignores_the_case_of_suffixes(tmp_path):
    touch(tmp_path, 'a.NII.GZ', 'b.Nii', 'c.nii.gz')
    assert [(s.name, s.path.name) for s in find_subjects(tmp_path)] == [
        ('a', 'a.NII.GZ'),
        ('b', 'b.Nii'),
        ('c', 'c.nii.gz'),
    ]


def test_find_subjects_lists_broken_links_in_bids_folder(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-1_T2w.nii.gz', 'sub-4/ses-1/anat/sub-4_ses-1_T2w.nii.gz')
    (tmp_path / 'sub-2' / 'anat').mkdir(parents=True)
    for link in ('sub-2/anat/sub-2_T2w.nii.gz', 'sub-2/anat/sub-2_T2w.json', 'sub-3', 'sub-4/ses-2'):
        (tmp_path / link).symlink_to('.git/annex/objects/nowhere')
    found = [(s.name, str(s.path.relative_to(tmp_path)), s.session) for s in find_subjects(tmp_path)]
    assert found == [
        ('sub-1', 'sub-1/anat/sub-1_T2w.nii.gz', ''),
        ('sub-2', 'sub-2/anat/sub-2_T2w.nii.gz', ''),
        ('sub-3', 'sub-3', ''),
        ('sub-4', 'sub-4/ses-1/anat/sub-4_ses-1_T2w.nii.gz', 'ses-1'),
        ('sub-4', 'sub-4/ses-2', 'ses-2'),
    ]


def test_find_subjects_lists_broken_links_in_flat_folder(tmp_path):
    for name in ('a.nii.gz', 'b.nii.gz'):
        (tmp_path / name).symlink_to('nowhere')
    assert [s.name for s in find_subjects(tmp_path)] == ['a', 'b']


def test_find_subjects_warns_of_volumes_outside_anat(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-1_T2w.nii.gz', 'sub-2/sub-2_T2w.nii', 'sub-3/func/x.nii', 'extra.nii.gz')
    touch(tmp_path, 'extra_mask.nii.gz')
    names, messages = remarks_of(tmp_path)
    assert names == ['sub-1_T2w.nii.gz']
    assert messages == [
        f'{tmp_path}: 2 volumes lie outside sub-*/anat and sub-*/ses-*/anat and are not used (extra.nii.gz, '
        'sub-2_T2w.nii); move them there, or away.',
        f'{tmp_path}: 2 of its sub-* folders hold no volume (sub-2, sub-3); put one in their anat, or remove them.',
    ]


def test_find_subjects_warns_of_other_formats(tmp_path):
    touch(tmp_path, 'a.nii', 'b.mgz', 'c.HDR', 'c.img', 'notes.txt')
    names, messages = remarks_of(tmp_path)
    assert names == ['a.nii']
    assert messages == [
        f'{tmp_path}: 3 images of other formats are not read (b.mgz, c.HDR, c.img); convert them to .nii.gz.'
    ]
    touch(tmp_path / 'only', 'b.nrrd')
    with pytest.raises(UserError, match=r'only: holds no volumes; .* 1 images of other formats are not read \(b\.nrrd'):
        find_subjects(tmp_path / 'only')


def test_find_subjects_leaves_out_derived_files(tmp_path):
    made = ['STA21_regional', 'STA21_tissue', 'ct1_Eq_1', 'ct1_ROI1', 'ct1_Tilt_1']
    touch(tmp_path, *(f'{name}.nii.gz' for name in ['STA21', 'ct1', 'ct2_Tilt_1', *made]))
    names, messages = remarks_of(tmp_path)
    assert names == ['STA21.nii.gz', 'ct1.nii.gz', 'ct2_Tilt_1.nii.gz']
    (message,) = messages
    assert message.startswith(f'{tmp_path}: 5 files are left out')
    assert all(name in message for name in made)


@pytest.mark.parametrize(
    ('files', 'names'),
    [
        (['case_01_ses-1', 'case_01_ses-2', 'case_02'], ['case_01', 'case_01', 'case_02']),
        (['case_01_visit1', 'case_01_visit2'], ['case_01', 'case_01']),
        (['case_01_T2_ses-1', 'case_01_T2_ses-2'], ['case_01', 'case_01']),
        (['case_01_run-1', 'case_01_run-2'], ['case_01', 'case_01']),
        (['case_01_T2', 'case_02_T2'], ['case_01_T2', 'case_02_T2']),
        (['sub-01_ses-1_T2w', 'sub-01_ses-2_T2w'], ['sub-01', 'sub-01']),
        (['id-1', 'id-2'], ['id-1', 'id-2']),
        (['patient_id-1', 'patient_id-2'], ['patient_id-1', 'patient_id-2']),
    ],
)
def test_find_subjects_in_flat_folder_groups_sessions(tmp_path, files, names):
    touch(tmp_path, *(f'{name}.nii.gz' for name in files))
    assert [s.name for s in find_subjects(tmp_path)] == names


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (['case_1_T1', 'case_1_T2'], r'case_1 has volumes of several kinds \(T1, T2\)'),
        (['case_1', 'case_1_brain'], r'case_1 has volumes of several kinds \(brain, without a suffix\)'),
        (['case_1_ses-1_T1w', 'case_1_ses-2_T2w'], r'case_1 has volumes of several kinds \(T1w, T2w\)'),
    ],
)
def test_find_subjects_refuses_several_kinds_in_flat_folder(tmp_path, files, message):
    touch(tmp_path, *(f'{name}.nii.gz' for name in files))
    with pytest.raises(UserError, match=message):
        find_subjects(tmp_path)


def test_find_subjects_refuses_a_file_in_the_folder_of_another_subject(tmp_path):
    touch(tmp_path, 'sub-1/anat/sub-2_T2w.nii.gz')
    with pytest.raises(UserError, match=r'sub-2_T2w\.nii\.gz: is named after sub-2, but lies in sub-1'):
        find_subjects(tmp_path)


@pytest.mark.parametrize('name', ['a\tb.nii', 'a\nb.nii', b'a\xffb.nii', 'a\x1b[31mb.nii', 'sub-\x9bJ/anat/T2w.nii'])
def test_find_subjects_refuses_unprintable_names(tmp_path, name):
    touch(tmp_path, os.fsdecode(name))
    with pytest.raises(UserError, match='its name has characters that cannot be printed') as caught:
        find_subjects(tmp_path)
    assert str(caught.value).isascii()
    assert '\n' not in str(caught.value)


def test_find_subjects_warns_of_participants_without_a_volume(tmp_path):
    touch(tmp_path, 'sub-1.nii')
    (tmp_path / 'participants.tsv').write_text('participant_id\nsub-1\nsub-2\n')
    assert remarks_of(tmp_path)[1] == [f'{tmp_path}/participants.tsv: 1 participants have no volume, sub-2 first.']
