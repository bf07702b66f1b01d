"""The deep baselines with the commands: train, resume, evaluate, reconstruct, compare."""

import json

import numpy as np
import pytest

from tfp_bruno import data
from tfp_bruno.baselines import ConditionalVAESettings, GenerativeQueryNetworkSettings
from tfp_bruno.runs import write_run
from tfp_bruno.training import BoundSettings, TrainingSettings

pytestmark = pytest.mark.slow

SETTINGS = {
    'gqn': GenerativeQueryNetworkSettings(
        (16, 16, 1),
        12,
        representation_channels=4,
        steps=2,
        hidden_channels=4,
        canvas_channels=2,
        kernel_size=3,
        centred=True,
    ),
    'cvae': ConditionalVAESettings((16, 16, 1), 12, representation_channels=4, filters=(2, 2, 2, 2), centred=True),
}


@pytest.fixture(scope='module', params=['gqn', 'cvae'])
def trained(request, workplace, make_tiny_run, call_warm):
    """The call that trained a tiny run of a baseline, and the run."""
    run = make_tiny_run(workplace / request.param)
    training = TrainingSettings(steps=2, batch_size=2, sequence_length=6, objective=BoundSettings(max_contexts=4))
    run = run.__class__(run.folder, run.definition, SETTINGS[request.param], training, run.info)
    write_run(run)
    splits = data.read_split(run.split_file)
    data.write_split(run.split_file, splits | {min(splits): 'validation'})
    return call_warm('train', f'--output_dir={run.folder}', '--resume', f'--cache_dir={workplace / "cache"}'), run


def test_commands_accept_a_baseline(trained, tiny_run, call_warm, workplace, write_blobs, assert_one_line, tmp_path):
    done, run = trained
    assert done.returncode == 0, done.stderr
    curve = [json.loads(line) for line in (run.folder / 'learning_curve.jsonl').read_text().splitlines()]
    assert {'train/kl_1', 'held_out/prediction_error', 'held_out/kl', 'train/loss'} <= set(curve[-1])
    cache = f'--cache_dir={workplace / "cache"}'
    done = call_warm('train', f'--output_dir={run.folder}', '--resume', '--steps=3', cache)
    assert done.returncode == 0, done.stderr
    assert 'Resumed at step 2.' in done.stderr
    for folder in (run.folder, tiny_run):
        done = call_warm('evaluate', f'--run_dir={folder}', '--num_samples=2', '--max_subjects=1', cache)
        assert done.returncode == 0, done.stderr
    done = call_warm('evaluate', f'--compare={run.folder},{tiny_run}', f'--output_dir={tmp_path / "compared"}', cache)
    assert (done.returncode, done.stderr) == (0, '')
    assert f'{run.kind} (cpu), mean image' in done.stdout
    files = {'comparison.json', 'comparison.md', 'completions.png', 'ssim_over_slices.png'}
    assert {path.name for path in (tmp_path / 'compared').iterdir()} == files
    found = json.loads((tmp_path / 'compared' / 'comparison.json').read_text())
    assert list(found['runs'].values()) == [str(run.folder), str(tiny_run)]
    out, scan = tmp_path / 'out', write_blobs(tmp_path / 'scan.nii.gz')
    flags = [f'--run_dir={run.folder}', f'--stack={scan}', '--slices=3,8', '--spacing=4', '--num_samples=1']
    done = call_warm('reconstruct', *flags, f'--output_dir={out}')
    assert done.returncode == 0, done.stderr
    assert np.isfinite(data.read_volume(out / 'mean.nii.gz').data).all()
    refused = call_warm('reconstruct', *flags, f'--output_dir={tmp_path / "none"}', '--temperature=0.8')
    assert_one_line(refused, 'reconstruct', '--temperature=0.8', 'has none')


def test_train_writes_the_settings_of_the_flags(call_warm, phantom_call, workplace, tmp_path):
    flags = [f'--data_dir={phantom_call[1]}', f'--cache_dir={workplace / "cache"}', f'--output_dir={tmp_path / "run"}']
    flags += [
        '--steps=1',
        '--batch_size=1',
        '--set=objective.max_contexts=2',
        '--set=sequence_length=3',
        '--set=objective.last_std=0.3',
    ]
    done = call_warm(
        'train',
        '--model=gqn',
        *flags,
        '--set=model.steps=1',
        '--set=model.shared_cores=true',
        '--set=model.aggregation=sum',
    )
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert settings['kind'] == 'gqn'
    model, objective = settings['model'], settings['training']['objective']
    assert (model['steps'], model['shared_cores'], model['aggregation'], model['num_slices']) == (1, True, 'sum', 80)
    assert (objective['max_contexts'], objective['last_std']) == (2, 0.3)
    assert call_warm('train', f'--output_dir={tmp_path / "run"}', '--resume', '--model=cvae').returncode == 1
