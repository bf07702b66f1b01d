"""`bin/export`, and the commands that take its file instead of a run."""

import json

import nibabel
import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def model_file(tiny_run, call_warm, workplace):
    """The exported model of the tiny run."""
    path = workplace / 'exported' / 'model.safetensors'
    done = call_warm('export', f'--run_dir={tiny_run}', f'--output={path}', '--data_licence=CC0')
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == (f'{path}\n', '')
    return path


def test_export_keeps_an_existing_file(model_file, tiny_run, call_warm, assert_one_line):
    before = model_file.read_bytes()
    flags = [f'--run_dir={tiny_run}', f'--output={model_file}', '--data_licence=CC0']
    assert_one_line(call_warm('export', *flags), 'export', f'--output={model_file}', 'exists', '--overwrite')
    assert model_file.read_bytes() == before
    assert call_warm('export', *flags, '--overwrite').returncode == 0
    assert [path.name for path in model_file.parent.iterdir()] == ['model.safetensors']


def test_commands_complete_the_same_from_the_file(model_file, tiny_run, call_warm, phantom_call, tmp_path):
    scan = next(phantom_call[1].glob('sub-*/anat/*_T2w.nii.gz'))
    flags = {
        'reconstruct': [f'--stack={scan}', '--slices=1,4,7', '--std_samples=3', '--spacing=8'],
        'atlas': ['--num_samples=1', '--std_samples=3', '--spacing=8'],
    }
    for name, others in flags.items():
        found = []
        for run_dir in (tiny_run, model_file):
            out = tmp_path / f'{name}-{run_dir.name}'
            done = call_warm(name, f'--run_dir={run_dir}', f'--output_dir={out}', *others)
            assert done.returncode == 0, done.stderr
            volumes = [out / 'mean.nii.gz', out / 'std.nii.gz', *sorted(out.glob('modes/*.nii.gz'))]
            found.append([np.asarray(nibabel.load(path).dataobj) for path in volumes])
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_evaluate_writes_beside_the_file_and_export_shows_the_scores(
    model_file, tiny_run, call_warm, assert_one_line, workplace, tmp_path
):
    flags = [f'--cache_dir={workplace / "cache"}', '--contexts=4', '--num_samples=2', '--baselines=False']
    out = tmp_path / 'of_run'
    for run_dir, others in ((tiny_run, [f'--output_dir={out}']), (model_file, [])):
        done = call_warm('evaluate', f'--run_dir={run_dir}', *flags, *others)
        assert done.returncode == 0, done.stderr
    metrics = model_file.parent / 'model-evaluation' / 'metrics.json'
    ours, theirs = json.loads(metrics.read_text()), json.loads((out / 'metrics.json').read_text())
    assert ours['run'] == str(model_file)
    assert {**ours, 'run': ''} == {**theirs, 'run': ''}
    scored = tmp_path / 'scored.safetensors'
    flags = [f'--run_dir={tiny_run}', f'--output={scored}']
    assert call_warm('export', *flags, f'--metrics={metrics}').returncode == 0
    done = call_warm('export', f'--card={scored}')
    ssim = ours['contexts']['4']['mean_image']['ssim']
    [row] = [line for line in done.stdout.splitlines() if 'model, mean image' in line]
    assert f'{ssim:.3f}' in row
    assert '- Licence: not stated' in done.stdout.splitlines()
    # Scores of another model, or none at all.
    for change, word in (({'trained_on': 'others'}, 'trained on others'), ({'contexts': {'4': {}}}, 'is damaged')):
        other = tmp_path / 'metrics.json'
        other.write_text(json.dumps({**ours, **change}))
        assert_one_line(call_warm('export', *flags, '--overwrite', f'--metrics={other}'), 'export', '--metrics', word)


def test_evaluate_scores_other_volumes_without_the_training_volumes(
    make_tiny_run, tiny_run, call_warm, assert_one_line, phantom_call, workplace, tmp_path
):
    run = make_tiny_run(tmp_path / 'run')
    for name in ('weights', 'loadings.safetensors'):
        (run.folder / name).symlink_to(tiny_run / name)
    text, moved = run.settings_file.read_text(), tmp_path / 'moved'
    run.settings_file.write_text(text.replace(str(phantom_call[1]), str(moved)))
    path, out = tmp_path / 'model.safetensors', tmp_path / 'out'
    assert call_warm('export', f'--run_dir={run.folder}', f'--output={path}').returncode == 0
    flags = [f'--run_dir={path}', f'--output_dir={out}', f'--cache_dir={workplace / "cache"}', '--contexts=4']
    assert_one_line(call_warm('evaluate', *flags), 'evaluate', moved, '--train_data_dir', '--baselines=False')
    flags += [f'--data_dir={phantom_call[1]}', '--num_samples=1', '--max_subjects=1', '--split=all']
    assert_one_line(call_warm('evaluate', *flags), 'evaluate', moved, '--train_data_dir', '--baselines=False')
    done = call_warm('evaluate', *flags, '--baselines=False')
    assert done.returncode == 0, done.stderr
    assert f'{moved}: there is no such folder; whether the model was trained on' in done.stderr
    assert json.loads((out / 'metrics.json').read_text())['num_subjects'] == 1


@pytest.mark.parametrize('name', ['evaluate', 'reconstruct', 'atlas'])
@pytest.mark.parametrize('damage', ['cut', 'text'])
def test_commands_name_a_damaged_file(model_file, call_warm, assert_one_line, tmp_path, name, damage):
    path = tmp_path / 'model.safetensors'
    content = model_file.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == 'cut' else b'text')
    flags = ['--slices='] if name == 'reconstruct' else []
    done = call_warm(name, f'--run_dir={path}', f'--output_dir={tmp_path / "out"}', *flags)
    assert_one_line(done, name, path, 'damaged', 'copy or write it again')
    assert not (tmp_path / 'out').exists()
