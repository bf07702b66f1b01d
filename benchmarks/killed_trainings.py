"""Kills trainings at random moments: each must resume to the weights of a training that was not interrupted.

    python benchmarks/killed_trainings.py --kills=20

A small training on phantoms is run once to its end. Then others with the same seed are killed (SIGKILL) once or twice,
at any moment from the start of the process on, resumed, and their last states, the weights that they hand on and their
learning curves are compared bit by bit.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

KILLS = flags.DEFINE_integer('kills', 20, 'Number of trainings that are killed.', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', 150, 'Number of training steps.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the moments.', lower_bound=0)

DATASET = 'name = "small"\nfield_of_view = 160\nnum_slices = 16\nstack_share = 0.65\nimage_size = 16\n'
SETTINGS = (
    'evaluate_every=3',
    'sequence_length=5',
    'start_volumes=0',
    'model.factors=4',
    'model.flow.couplings=[1]',
    'model.flow.filters=[8]',
    'model.flow.dense_units=16',
    'model.flow.first_squeeze=2',
)


def main():
    """Prints what became of each training.

    Raises:
        UserError: If a training was not resumed to the same weights.
    """
    app.import_tensorflow()
    rng = np.random.default_rng(SEED.value)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        population, dataset = scratch / 'population', scratch / 'small.toml'
        dataset.write_text(DATASET)
        # Enough of them that one is left out for validation.
        _call('phantom', '--dataset=fetal', f'--output_dir={population}', '--subjects=14')
        flags_of = [f'--data_dir={population}', f'--cache_dir={scratch / "cache"}']
        new = [f'--dataset_config={dataset}', f'--steps={STEPS.value}', '--max_minutes=0', '--batch_size=2']
        new += [f'--set={setting}' for setting in SETTINGS]
        began = time.monotonic()
        whole = scratch / 'whole'
        _call('train', *flags_of, *new, f'--output_dir={whole}')
        seconds = time.monotonic() - began
        expected = _state(whole)
        good = 0
        for number in range(KILLS.value):
            run = scratch / 'run'
            moments = rng.uniform(0.0, seconds, rng.integers(1, 3))
            lines = [_killed(moment, flags_of, new, run) for moment in moments]
            done = _start(flags_of, new, run)
            error = done.communicate()[1].decode()
            if done.returncode:
                verdict = f'FAILED (status {done.returncode}): {error.splitlines()[-1:]}'
            elif others := _differences(_state(run), expected):
                verdict = f'OTHER WEIGHTS: {len(others)} arrays differ, among them {", ".join(others[:5])}'
            else:
                verdict = 'same weights'
                good += 1
            print(f'{number + 1}: killed at {", ".join(lines)}: {verdict}', flush=True)
            shutil.rmtree(run)
    print(f'{good} of {KILLS.value} trainings have the weights of the uninterrupted one.')
    if good < KILLS.value:
        raise UserError(f'{KILLS.value - good} trainings were not resumed to the same weights; see above.')


def _start(flags_of, new, run):
    """Starts the training of a run, or resumes it."""
    own = ['--resume'] if (run / 'run.json').exists() else new
    command = [sys.executable, ROOT / 'bin' / 'train', *flags_of, *own, f'--output_dir={run}']
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _killed(moment, flags_of, new, run):
    """Kills a training at a moment; returns the moment and the step that its states had reached."""
    process = _start(flags_of, new, run)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Not read to its end: helpers of the killed process hold it for minutes.
    process.stderr.close()
    steps = [int(path.stem.partition('-')[2]) for path in (run / 'checkpoints').glob('ckpt-*.index')]
    return f'{moment:.1f} s (state of step {max(steps, default=0)})'


def _call(name, *arguments):
    subprocess.run([sys.executable, ROOT / 'bin' / name, *arguments], check=True, capture_output=True)


def _state(run):
    """Returns the tensors of a run's last state and of its weights, its loadings, and its curve but for the times."""
    import tensorflow as tf

    from tfp_bruno.runs import read_run
    from tfp_bruno.runs.loadings import read_loadings

    found = {}
    for prefix in (run / 'checkpoints' / f'ckpt-{STEPS.value}', read_run(run).weights):
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            if not name.startswith(('seconds', '_CHECKPOINTABLE')):
                found[f'{prefix.parent.name}/{name}'] = reader.get_tensor(name)
    # The arrays, since the order of a file's metadata is random.
    for name, values in read_loadings(run / 'loadings.safetensors').items():
        found[f'loadings/{name}'] = values
    for line in (run / 'learning_curve.jsonl').read_text(encoding='utf-8').splitlines():
        point = json.loads(line)
        values = [value for name, value in sorted(point.items()) if name == 'step' or name.startswith('held_out')]
        found[f'curve/{point["step"]}'] = np.array(values)
    return found


def _differences(ours, theirs):
    """Returns the names of the arrays that only one of them has, or that differ."""
    shared = ours.keys() & theirs.keys()
    changed = {name for name in shared if not np.array_equal(ours[name], theirs[name])}
    return sorted((ours.keys() ^ theirs.keys()) | changed)


if __name__ == '__main__':
    app.run_main(main)
