"""The evaluation on other subjects than those of the run."""

import json

import pytest


@pytest.fixture(scope='module')
def other_volumes(phantom_call, workplace):
    """A folder of three subjects of the population, two of which the run was trained on, without their split."""
    folder = workplace / 'other'
    folder.mkdir()
    for path in sorted(phantom_call[1].glob('sub-*/anat/*_T2w.nii.gz'))[-3:]:
        (folder / path.name).symlink_to(path)
    return folder


def test_other_volumes_are_all_test_subjects(call_warm, tiny_run, workplace, phantom_call, other_volumes, tmp_path):
    moved, out = tmp_path / 'moved', tmp_path / 'out'
    # Where the training subjects were, the baselines find them no longer; they are told.
    moved.symlink_to(phantom_call[1])
    flags = [f'--data_dir={other_volumes}', f'--train_data_dir={moved}', f'--output_dir={out}', '--contexts=4']
    done = call_warm(
        'evaluate', f'--run_dir={tiny_run}', *flags, '--num_samples=1', f'--cache_dir={workplace / "cache"}'
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((out / 'metrics.json').read_text())
    assert (found['num_subjects'], found['num_trained_on'], found['num_train_subjects']) == (3, 2, 5)
    assert str(other_volumes) in found['data']
    assert found['trained_on'] == 'phantoms'
