"""A study continues after a failed subject, completes none twice, and predicts subjects together."""

import copy
import dataclasses
import hashlib
import json
import pathlib
import shutil

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_bruno.data import Shard, Subject, find_subjects
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import OutputSettings, ReconstructionSettings, SliceSelection
from tfp_bruno.reconstruction.study import (
    StudySettings,
    choose_subjects,
    reconstruct_study,
    subject_folders,
)
from tfp_bruno.reconstruction.study_report import write_study_report

QUICK = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(spacing=8.0))
SETTINGS = StudySettings(SliceSelection(slices=(20, 60)), reconstruction=QUICK)


@pytest.fixture
def study(tmp_path):
    """Three subjects with masks, the second with two sessions."""
    rng = np.random.default_rng(0)
    for name in (
        'sub-1/anat/sub-1',
        'sub-2/ses-a/anat/sub-2_ses-a',
        'sub-2/ses-b/anat/sub-2_ses-b',
        'sub-3/anat/sub-3',
    ):
        path = tmp_path / 'study' / f'{name}_T2w.nii.gz'
        path.parent.mkdir(parents=True, exist_ok=True)
        data = rng.uniform(1, 100, (16, 16, 16)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(data, np.diag([8.0, 8, 8, 1])), path)
        mask = nibabel.Nifti1Image((data > 20).astype(np.uint8), np.diag([8.0, 8, 8, 1]))
        nibabel.save(mask, path.with_name(path.name.replace('T2w', 'mask')))
    return tmp_path / 'study'


def test_reconstruct_study_writes_every_volume_once_to_its_own_folder(tmp_path, study, model, assert_contract):
    subjects = find_subjects(study)
    folders = subject_folders(subjects, tmp_path / 'out')
    names = [str(folder.relative_to(tmp_path / 'out')) for folder in folders]
    assert names == ['sub-1', 'sub-2/ses-a/sub-2_ses-a_T2w', 'sub-2/ses-b/sub-2_ses-b_T2w', 'sub-3']
    outcomes = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['completed'] * 4
    # One call for all of them.
    assert [len(images) for images, _ in model.calls] == [4]
    for folder in folders:
        assert_contract(folder)
    again = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in again] == ['complete before'] * 4
    assert [len(images) for images, _ in model.calls] == [4]
    write_study_report(tmp_path / 'out', again, 'a study', 'bin/reconstruct')
    assert '4 completed, 4 of them before, 0 failed' in (tmp_path / 'out' / 'report.html').read_text()
    description = json.loads((tmp_path / 'out' / 'dataset_description.json').read_text())
    assert description['DatasetType'] == 'derivative'


def test_reconstruct_study_reports_a_failed_subject_and_leaves_nothing(tmp_path, study, model, monkeypatch):
    subjects = find_subjects(study)
    subjects[1].path.write_bytes(subjects[1].path.read_bytes()[:-60])
    outcomes = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['completed', 'failed', 'completed', 'completed']
    assert 'is cut short' in outcomes[1].error
    assert not outcomes[1].folder.exists()

    def fail(*_):
        raise ZeroDivisionError('two\nlines')

    # Unexpected errors, too.
    monkeypatch.setattr('tfp_bruno.reconstruction.study.place_contexts', fail)
    outcomes = reconstruct_study(model, subjects, tmp_path / 'other', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['failed'] * 4
    assert 'ZeroDivisionError' in outcomes[0].error
    assert '\n' not in outcomes[0].error
    write_study_report(tmp_path / 'other', outcomes, 'a study', 'bin/reconstruct')
    assert '0 completed, 4 failed' in (tmp_path / 'other' / 'report.html').read_text()


def files_of(folder):
    """Content of each file by its path; of a sidecar and a compressed volume, what they hold."""
    found = {}
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name == 'reconstruction.json':
            sidecar = json.loads(path.read_text())
            found[name] = {key: sidecar[key] for key in ('contexts', 'files', 'inputs', 'selection', 'seed')}
        else:
            found[name] = np.asarray(nibabel.load(path).dataobj).tobytes()
    return found


@pytest.mark.parametrize('count', [2, 3, 6])
def test_reconstruct_study_in_shards_equals_one_run(tmp_path, study, model, count):
    subjects = find_subjects(study)
    reconstruct_study(model, subjects, tmp_path / 'one', SETTINGS)
    for number in range(count, 0, -1):
        shard = Shard(number, count)
        outcomes = reconstruct_study(model, subjects, tmp_path / 'shards', SETTINGS, shard=shard)
        assert [outcome.subject for outcome in outcomes] == subjects[number - 1 :: count]
        # Called again, a shard has nothing left to do.
        again = reconstruct_study(model, subjects, tmp_path / 'shards', SETTINGS, shard=shard)
        assert {outcome.state for outcome in again} <= {'complete before'}
    together = reconstruct_study(model, subjects, tmp_path / 'shards', SETTINGS)
    assert [outcome.state for outcome in together] == ['complete before'] * 4
    assert files_of(tmp_path / 'shards') == files_of(tmp_path / 'one')


@pytest.mark.parametrize(('most', 'state'), [(1, 'completed'), (0, 'failed')])
def test_reconstruct_study_predicts_one_subject_if_several_fail(tmp_path, study, model, monkeypatch, most, state):
    predict = model.predict

    def fail(context_images, *arguments):
        if len(context_images) > most:
            raise MemoryError('too many')
        return predict(context_images, *arguments)

    monkeypatch.setattr(model, 'predict', fail)
    outcomes = reconstruct_study(model, find_subjects(study), tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == [state] * 4
    assert all(('MemoryError: too many' in outcome.error) == (state == 'failed') for outcome in outcomes)


def test_reconstruct_study_takes_masks_beside_the_scans(tmp_path, study, model):
    subjects = find_subjects(study)
    (subjects[3].path.parent / 'sub-3_mask.nii.gz').unlink()
    masked = StudySettings(SETTINGS.selection, use_masks=True, reconstruction=QUICK)
    outcomes = reconstruct_study(model, subjects, tmp_path / 'out', masked)
    assert [outcome.state for outcome in outcomes] == ['completed'] * 3 + ['failed']
    assert 'sub-3_T2w.nii.gz: has no mask; put one beside it, named' in outcomes[3].error
    assert 'sub-3_desc-brain_mask or sub-3_T2w_mask or sub-3_mask (' in outcomes[3].error


def test_reconstruct_study_refuses_a_subject_made_with_other_settings(tmp_path, study, model):
    subjects = choose_subjects(find_subjects(study), ['sub-1'])
    reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    changed = [
        (StudySettings(SliceSelection(slices=(20,)), reconstruction=QUICK), 'selection'),
        (StudySettings(SETTINGS.selection, reconstruction=ReconstructionSettings(std_samples=0, seed=4)), 'seed'),
    ]
    for wanted, word in changed:
        (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', wanted)
        assert f'was made with {word}' in outcome.error
    model.temperature = 0.8
    (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert 'was made with temperature 1.0, not 0.8' in outcome.error
    model.temperature = 1.0
    trained_further = copy.copy(model)
    trained_further.info = dataclasses.replace(model.info, weights='of another step')
    (outcome,) = reconstruct_study(trained_further, subjects, tmp_path / 'out', SETTINGS)
    assert 'was made by another model, or before it was trained further' in outcome.error
    sidecar = tmp_path / 'out' / 'sub-1' / 'reconstruction.json'
    before = json.loads(sidecar.read_text())
    del before['temperature']
    sidecar.write_text(json.dumps(before))
    (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert outcome.state == 'complete before'
    sidecar.write_text('{')
    (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert 'is damaged' in outcome.error


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inputs_of(folder):
    """Role, path and hash of the input files that a sidecar records."""
    sidecar = json.loads((folder / 'reconstruction.json').read_text())
    return [(item['role'], item['path'], item['sha256']) for item in sidecar['inputs']]


def test_reconstruct_study_keeps_sessions_with_one_file_name_apart(tmp_path, model, write_scan):
    one = write_scan(tmp_path / 'study' / 'sub-01' / 'ses-1' / 'anat' / 'T2w.nii.gz', 1)
    reconstruct_study(model, find_subjects(tmp_path / 'study'), tmp_path / 'out', SETTINGS)
    assert inputs_of(tmp_path / 'out' / 'sub-01' / 'ses-1') == [('scan', str(one), sha256(one))]
    two = write_scan(tmp_path / 'study' / 'sub-01' / 'ses-2' / 'anat' / 'T2w.nii.gz', 2)
    overwrite = dataclasses.replace(SETTINGS, reconstruction=dataclasses.replace(QUICK, overwrite=True))
    # The two sessions are not confused.
    for wanted, states in ((SETTINGS, 'completed'), (SETTINGS, 'complete before'), (overwrite, 'completed')):
        outcomes = reconstruct_study(model, find_subjects(tmp_path / 'study'), tmp_path / 'out', wanted)
        assert [outcome.state for outcome in outcomes] == [states] * 2
        for scan, session in ((one, 'ses-1'), (two, 'ses-2')):
            folder = tmp_path / 'out' / 'sub-01' / session / 'T2w'
            assert inputs_of(folder) == [('scan', str(scan), sha256(scan))]
    # The result from when the subject had one session is still there.
    assert inputs_of(tmp_path / 'out' / 'sub-01' / 'ses-1') == [('scan', str(one), sha256(one))]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(['sub-1', 'sub-2']), st.sampled_from(['', 'ses-1', 'ses-2']), st.sampled_from(['a', 'b'])
        ),
        unique=True,
        min_size=1,
    )
)
def test_subject_folders_are_distinct_and_not_nested(volumes):
    paths = [pathlib.Path('study', name, session, 'anat', f'{stem}.nii') for name, session, stem in volumes]
    subjects = [Subject(name, path, session=session) for (name, session, _), path in zip(volumes, paths, strict=True)]
    folders = subject_folders(subjects, pathlib.Path('out'))
    assert len(set(folders)) == len(volumes)
    assert not [one for one in folders for two in folders if one in two.parents]
    for folder, (name, session, _) in zip(folders, volumes, strict=True):
        assert folder.parts[1] == name
        assert not session or folder.parts[2] == session


def test_subject_folders_refuses_two_volumes_of_one_name(tmp_path, model, write_scan):
    write_scan(tmp_path / 'case.nii', 0)
    write_scan(tmp_path / 'case.NII.gz', 1)
    with pytest.raises(UserError, match=r'case\.nii: would be written to .*case, like .*case\.NII\.gz'):
        reconstruct_study(model, find_subjects(tmp_path), tmp_path / 'out', SETTINGS)


def test_reconstruct_study_refuses_a_subject_made_from_other_files(tmp_path, model, write_scan):
    scan = write_scan(tmp_path / 'study' / 'a.nii', 0, 'a_mask.nii')
    masked = dataclasses.replace(SETTINGS, use_masks=True)
    out = tmp_path / 'out'

    def state(wanted=masked, folder='study'):
        (outcome,) = reconstruct_study(model, find_subjects(tmp_path / folder), out, wanted)
        return outcome.error.removeprefix(f'{out / "a"}: ') or outcome.state

    assert state() == 'completed'
    assert inputs_of(out / 'a') == [
        ('scan', str(scan), sha256(scan)),
        ('mask', str(scan.with_name('a_mask.nii')), sha256(scan.with_name('a_mask.nii'))),
    ]
    assert state() == 'complete before'
    mend = 'set `overwrite`, or give another `output_dir`.'
    assert state(SETTINGS) == f'was made with a mask; {mend}'
    # A copy elsewhere is the same study.
    shutil.copytree(tmp_path / 'study', tmp_path / 'moved')
    assert state(folder='moved') == 'complete before'
    content = scan.with_name('a_mask.nii').read_bytes()
    scan.with_name('a_mask.nii').write_bytes(content[:-1] + bytes([1 - content[-1]]))
    assert state() == f'was made from another mask than {scan.with_name("a_mask.nii")} as it is now; {mend}'
    scan.with_name('a_mask.nii').write_bytes(content)
    assert state() == 'complete before'
    write_scan(scan, 1)
    assert state() == f'was made from another scan than {scan} as it is now; {mend}'
    overwrite = dataclasses.replace(SETTINGS, reconstruction=dataclasses.replace(QUICK, overwrite=True))
    assert state(overwrite) == 'completed'
    assert state(SETTINGS) == 'complete before'
    assert state() == f'was made without a mask; {mend}'
    # A sidecar of an older version.
    sidecar = json.loads((out / 'a' / 'reconstruction.json').read_text())
    del sidecar['inputs']
    (out / 'a' / 'reconstruction.json').write_text(json.dumps(sidecar))
    assert state(SETTINGS) == f'does not record the files it was made from; {mend}'


def test_reconstruct_study_overwrite_keeps_the_result_of_another_scan(tmp_path, model, write_scan):
    first = write_scan(tmp_path / 'first' / 'sub-1' / 'anat' / 'sub-1_run-1_T2w.nii.gz', 0)
    write_scan(tmp_path / 'second' / 'sub-1' / 'anat' / 'sub-1_run-2_T2w.nii.gz', 1)
    overwrite = dataclasses.replace(SETTINGS, reconstruction=dataclasses.replace(QUICK, overwrite=True))
    reconstruct_study(model, find_subjects(tmp_path / 'first'), tmp_path / 'out', overwrite)
    (outcome,) = reconstruct_study(model, find_subjects(tmp_path / 'second'), tmp_path / 'out', overwrite)
    assert f'holds the result of {first}, not of ' in outcome.error
    assert inputs_of(tmp_path / 'out' / 'sub-1')[0][1] == str(first)


def test_reconstruct_study_files_that_were_not_fetched_fail_alone(tmp_path, study, model):
    subjects = find_subjects(study)
    for index in (0, 3):
        subjects[index].path.unlink()
        subjects[index].path.symlink_to('.git/annex/objects/nowhere')
    subjects[1].path.write_text('/annex/objects/MD5E-s1--0.nii.gz\n')
    outcomes = reconstruct_study(model, find_subjects(study), tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['failed', 'failed', 'completed', 'failed']
    mend = 'fetch it, e.g. with git annex get or datalad get.'
    assert outcomes[0].error == f'{subjects[0].path}: its content is not there: a broken link; {mend}'
    assert f'{subjects[1].path}: is a pointer of git-annex' in outcomes[1].error


def test_reconstruct_study_assume_ras_applies_to_masks(tmp_path, model, write_scan):
    scan = write_scan(tmp_path / 'study' / 'a.nii.gz', 0, 'a_mask.nii.gz')
    for name in ('a.nii.gz', 'a_mask.nii.gz'):
        image = nibabel.Nifti1Image(np.asarray(nibabel.load(scan.with_name(name)).dataobj), None)
        image.header.set_zooms((8, 8, 8))
        nibabel.save(image, scan.with_name(name))
    for assume_ras, state in ((False, 'failed'), (True, 'completed')):
        wanted = dataclasses.replace(SETTINGS, use_masks=True, assume_ras=assume_ras)
        (outcome,) = reconstruct_study(model, find_subjects(tmp_path / 'study'), tmp_path / 'out', wanted)
        assert outcome.state == state
        assert assume_ras or outcome.error.endswith('set one, or give `assume_ras`.')


def test_choose_subjects_by_label(study):
    subjects = find_subjects(study)
    assert [subject.name for subject in choose_subjects(subjects, ['2', 'sub-3'])] == ['sub-2', 'sub-2', 'sub-3']
    assert choose_subjects(subjects, None) == subjects
    for labels, word in ((['9'], 'there is no subject 9'), ([], 'is empty')):
        with pytest.raises(UserError, match=word):
            choose_subjects(subjects, labels)
