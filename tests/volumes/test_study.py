"""A study goes on after what fails, does nothing twice, and predicts subjects together."""

import json

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import find_subjects, get_definition
from tfp_bruno.errors import UserError
from tfp_bruno.volumes import OutputSettings, ReconstructionSettings, SliceSelection
from tfp_bruno.volumes.study import (
    StudySettings,
    choose_subjects,
    reconstruct_study,
    subject_folders,
)
from tfp_bruno.volumes.study_report import write_study_report

QUICK = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(spacing=8.0))
SETTINGS = StudySettings(SliceSelection(slices=(20, 60)), reconstruction=QUICK)


class CountingModel:
    """Predicts one ellipsoid, and remembers how many subjects were asked for at once."""

    name = 'counting'

    def __init__(self, images):
        self.definition = get_definition('fetal')
        self.info = {}
        self.images, self.calls = images, []

    def predict(self, context_images, context_slices, query_slices):
        self.calls.append(len(context_images))
        return np.repeat(self.images[None, query_slices], len(context_images), 0)


@pytest.fixture
def model(ellipsoid):
    return CountingModel(ellipsoid)


@pytest.fixture
def study(tmp_path):
    """Three subjects, the second with two sessions, with masks."""
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


def test_every_volume_has_a_folder(tmp_path, study, model, assert_contract):
    subjects = find_subjects(study)
    folders = subject_folders(subjects, tmp_path / 'out')
    names = [str(folder.relative_to(tmp_path / 'out')) for folder in folders]
    assert names == ['sub-1', 'sub-2/ses-a/sub-2_ses-a_T2w', 'sub-2/ses-b/sub-2_ses-b_T2w', 'sub-3']
    outcomes = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['completed'] * 4
    # One call for all of them.
    assert model.calls == [4]
    for folder in folders:
        assert_contract(folder)
    again = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in again] == ['complete before'] * 4
    assert model.calls == [4]
    write_study_report(tmp_path / 'out', again, 'a study', 'bin/reconstruct')
    assert '4 completed, 4 of them before, 0 failed' in (tmp_path / 'out' / 'report.html').read_text()
    description = json.loads((tmp_path / 'out' / 'dataset_description.json').read_text())
    assert description['DatasetType'] == 'derivative'


def test_what_fails_is_told_and_leaves_nothing(tmp_path, study, model, monkeypatch):
    subjects = find_subjects(study)
    subjects[1].path.write_bytes(subjects[1].path.read_bytes()[:-60])
    outcomes = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['completed', 'failed', 'completed', 'completed']
    assert 'is cut short' in outcomes[1].error
    assert not outcomes[1].folder.exists()

    def fail(*_):
        raise ZeroDivisionError('two\nlines')

    # What nobody thought of, too.
    monkeypatch.setattr('tfp_bruno.volumes.study.contexts_of_scan', fail)
    outcomes = reconstruct_study(model, subjects, tmp_path / 'other', SETTINGS)
    assert [outcome.state for outcome in outcomes] == ['failed'] * 4
    assert 'ZeroDivisionError' in outcomes[0].error
    assert '\n' not in outcomes[0].error
    write_study_report(tmp_path / 'other', outcomes, 'a study', 'bin/reconstruct')
    assert '0 completed, 4 failed' in (tmp_path / 'other' / 'report.html').read_text()


@pytest.mark.parametrize(('most', 'state'), [(1, 'completed'), (0, 'failed')])
def test_a_model_that_fails_for_many_subjects_is_asked_for_one(tmp_path, study, model, monkeypatch, most, state):
    predict = model.predict

    def fail(context_images, *arguments):
        if len(context_images) > most:
            raise MemoryError('too many')
        return predict(context_images, *arguments)

    monkeypatch.setattr(model, 'predict', fail)
    outcomes = reconstruct_study(model, find_subjects(study), tmp_path / 'out', SETTINGS)
    assert [outcome.state for outcome in outcomes] == [state] * 4
    assert all(('MemoryError: too many' in outcome.error) == (state == 'failed') for outcome in outcomes)


def test_masks_lie_beside_the_scans(tmp_path, study, model):
    subjects = find_subjects(study)
    (subjects[3].path.parent / 'sub-3_mask.nii.gz').unlink()
    settings = StudySettings(SETTINGS.selection, use_masks=True, reconstruction=QUICK)
    outcomes = reconstruct_study(model, subjects, tmp_path / 'out', settings)
    assert [outcome.state for outcome in outcomes] == ['completed'] * 3 + ['failed']
    assert 'sub-3_T2w.nii.gz: has no mask; put one beside it, named' in outcomes[3].error
    assert 'sub-3_desc-brain_mask or sub-3_T2w_mask or sub-3_mask (' in outcomes[3].error


def test_other_settings_are_not_complete(tmp_path, study, model):
    subjects = choose_subjects(find_subjects(study), ['sub-1'])
    reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    changed = [
        (StudySettings(SliceSelection(slices=(20,)), reconstruction=QUICK), 'selection'),
        (StudySettings(SETTINGS.selection, reconstruction=ReconstructionSettings(std_samples=0, seed=4)), 'seed'),
    ]
    for settings, word in changed:
        (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', settings)
        assert f'was made with {word}' in outcome.error
    model.temperature = 0.8
    (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert 'was made with temperature 1.0, not 0.8' in outcome.error
    model.temperature = 1.0
    sidecar = tmp_path / 'out' / 'sub-1' / 'reconstruction.json'
    before = json.loads(sidecar.read_text())
    del before['temperature']
    sidecar.write_text(json.dumps(before))
    (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert outcome.state == 'complete before'
    sidecar.write_text('{')
    (outcome,) = reconstruct_study(model, subjects, tmp_path / 'out', SETTINGS)
    assert 'is damaged' in outcome.error


def test_labels(study):
    subjects = find_subjects(study)
    assert [subject.name for subject in choose_subjects(subjects, ['2', 'sub-3'])] == ['sub-2', 'sub-2', 'sub-3']
    assert choose_subjects(subjects, None) == subjects
    for labels, word in ((['9'], '9 is not there'), ([], 'nobody is not there')):
        with pytest.raises(UserError, match=word):
            choose_subjects(subjects, labels)
