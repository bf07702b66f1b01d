"""The command `bin/phantom`."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow
BINARY = pathlib.Path(__file__).resolve().parents[2] / 'bin' / 'phantom'


def _run(*flags):
    return subprocess.run([sys.executable, BINARY, *flags], capture_output=True, text=True, check=False)


def test_phantom_writes_two_subjects(tmp_path):
    done = _run('--dataset=fetal', f'--output_dir={tmp_path / "population"}', '--subjects=2', '--seed=3')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / 'population')]
    assert done.stderr.splitlines() == ['fetal phantom: 2/2 subjects']
    assert len(list((tmp_path / 'population').rglob('*_T2w.nii.gz'))) == 2


def test_phantom_bad_flags_are_one_line(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    for flags, named in (
        ((f'--output_dir={tmp_path}', '--dataset=fetal'), '--output_dir'),
        ((f'--output_dir={tmp_path / "new"}', '--dataset=knee'), 'dataset'),
        ((f'--output_dir={tmp_path / "new"}',), 'dataset'),
        ((f'--output_dir={tmp_path / "new"}', '--dataset=fetal', '--subjects=1'), 'subjects'),
        ((f'--output_dir={tmp_path / "new"}', '--dataset=fetal', 'fetal'), 'is not a flag'),
    ):
        done = _run(*flags)
        assert done.returncode in (1, 2)
        assert done.stderr.startswith('bin/phantom: error: ') and named in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_phantom_terminated_leaves_nothing(tmp_path):
    output_dir = tmp_path / 'population'
    command = [sys.executable, BINARY, '--dataset=fetal', f'--output_dir={output_dir}', '--subjects=500']
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            until = time.monotonic() + 30.0
            while not list(tmp_path.glob('.population-*/population/sub-0001')) and time.monotonic() < until:
                time.sleep(0.05)
            assert not output_dir.exists()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30.0) == 128 + signal.SIGTERM
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert not list(tmp_path.iterdir())
