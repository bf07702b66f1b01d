"""Two workers on this machine train one model: they follow a single process, and end together."""

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.models import DisplacedPoses, OneHotPoses
from tfp_bruno.runs import write_run
from tfp_bruno.runs.loadings import read_loadings
from tfp_bruno.training import ObjectiveSettings

pytestmark = pytest.mark.slow

TRAIN = pathlib.Path(__file__).resolve().parents[2] / 'bin' / 'train'

OBJECTIVE = ObjectiveSettings(joint=0.5, conditional=1.0, structural=1.0, squared_error=1.0)
SETTINGS = {
    'batch_size': 2,
    'evaluate_every': 2,
    'objective': OBJECTIVE,
    'start_volumes': 8,
    'max_minutes': 0.0,
    'context_sets': 6,
}


@pytest.fixture
def start_workers(workplace):
    """Starts two workers with the same flags; they are killed at the end of the test."""
    started = []

    def start(*flags):
        with socket.create_server(('localhost', 0)) as one, socket.create_server(('localhost', 0)) as two:
            addresses = [f'localhost:{server.getsockname()[1]}' for server in (one, two)]
        command = [sys.executable, TRAIN, '--strategy=multi_worker', f'--cache_dir={workplace / "cache"}', *flags]
        workers = []
        for index in range(2):
            config = {'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}}
            # Two workers cannot share a GPU.
            environment = {**os.environ, 'TF_CONFIG': json.dumps(config), 'CUDA_VISIBLE_DEVICES': '-1'}
            workers.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
        started.extend(workers)
        return workers

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()


def last_lines(workers):
    """Waits for workers; returns the exit status and the last line of each."""
    lines = [worker.communicate(timeout=300)[1].splitlines()[-1] for worker in workers]
    return [worker.returncode for worker in workers], lines


def curve_of(run):
    lines = run.learning_curve.read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != 'seconds'} for line in lines]


def wait_for_points(run, count):
    deadline = time.monotonic() + 300
    while not run.learning_curve.exists() or len(curve_of(run)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_same_training(run, expected):
    assert [point['step'] for point in curve_of(run)] == [point['step'] for point in curve_of(expected)]
    for ours, theirs in zip(curve_of(run), curve_of(expected), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=2e-4, atol=2e-4, err_msg=name)
    if expected.loadings.exists():
        ours, theirs = read_loadings(run.loadings), read_loadings(expected.loadings)
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize(
    ('pose', 'latents'),
    [(OneHotPoses(), 'flow'), (DisplacedPoses(3), 'frequencies')],
    ids=['numbers', 'places'],
)
def test_two_workers_follow_one_process(make_tiny_run, call_warm, start_workers, workplace, tmp_path, pose, latents):
    one, two = (make_tiny_run(tmp_path / name, **SETTINGS, steps=6) for name in ('one', 'two'))
    one, two = (
        dataclasses.replace(run, model=dataclasses.replace(run.model, pose=pose, latents=latents)) for run in (one, two)
    )
    for run in (one, two):
        write_run(run)
    done = call_warm('train', f'--output_dir={one.folder}', '--resume', f'--cache_dir={workplace / "cache"}')
    assert done.returncode == 0, done.stderr
    workers = start_workers(f'--output_dir={two.folder}', '--resume')
    codes, lines = last_lines(workers)
    assert codes == [0, 0], lines
    assert_same_training(two, one)
    # One writer: one log, and no lock or temporary file that is left.
    assert len(list(two.logs.iterdir())) == 1
    assert {path.name for path in two.folder.iterdir()} == {path.name for path in one.folder.iterdir()}


@pytest.mark.parametrize('index', [0, 1])
def test_sigterm_of_one_worker_saves_and_ends_both(make_tiny_run, start_workers, tmp_path, index):
    run = make_tiny_run(tmp_path / 'run', **SETTINGS, steps=100_000)
    workers = start_workers(f'--output_dir={run.folder}', '--resume')
    wait_for_points(run, 2)
    workers[index].send_signal(signal.SIGTERM)
    codes, lines = last_lines(workers)
    assert codes == [128 + signal.SIGTERM] * 2
    step = curve_of(run)[-1]['step']
    assert lines == [f'bin/train: SIGTERM: stopped after step {step}; the state is saved, --resume continues it.'] * 2
    assert (run.checkpoints / f'ckpt-{step}.index').exists()


@pytest.mark.parametrize('index', [0, 1])
def test_a_killed_worker_ends_the_other_and_all_resume(make_tiny_run, start_workers, tmp_path, index):
    run = make_tiny_run(tmp_path / 'run', **SETTINGS, steps=100_000)
    workers = start_workers(f'--output_dir={run.folder}', '--resume')
    wait_for_points(run, 2)
    workers[index].kill()
    codes, lines = last_lines(workers)
    assert codes[1 - index] == 1
    assert lines[1 - index] == (
        'bin/train: error: Another worker has ended, or cannot be reached; start all workers again, with --resume.'
    )
    before = curve_of(run)
    last = before[-1]['step'] + 2
    codes, lines = last_lines(start_workers(f'--output_dir={run.folder}', '--resume', f'--steps={last}'))
    assert codes == [0, 0], lines
    assert curve_of(run)[: len(before) - 1] == before[:-1]
    assert curve_of(run)[-1]['step'] == last
    reader = tf.train.load_checkpoint(str(run.checkpoints / f'ckpt-{last}'))
    assert reader.get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE') == last


def test_an_error_of_the_chief_ends_both_in_one_line(make_tiny_run, start_workers, tmp_path):
    run = make_tiny_run(tmp_path / 'run', **SETTINGS)
    workers = start_workers(f'--output_dir={run.folder}', '--dataset=fetal', '--phantom_subjects=10')
    codes, lines = last_lines(workers)
    assert codes == [1, 1]
    assert lines[0].startswith(f'bin/train: error: --output_dir={run.folder}: exists and is not empty;')
    assert lines[1] == 'bin/train: error: worker 0 ended with an error; see its message'


def test_a_batch_that_cannot_be_divided_ends_both_in_one_line(make_tiny_run, start_workers, tmp_path):
    run = make_tiny_run(tmp_path / 'run', **{**SETTINGS, 'batch_size': 3})
    codes, lines = last_lines(start_workers(f'--output_dir={run.folder}', '--resume'))
    assert codes == [1, 1]
    assert set(lines) == {
        'bin/train: error: --batch_size=3: must be a multiple of the 2 devices times `micro_batches=1`.'
    }
