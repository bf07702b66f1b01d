"""Damaged and unusual files end in the right volume, or in a warning or an error of one line."""

import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'


def run(script, *flags):
    """Runs a script in its own process, since it forks, which is unsafe with the threads of TensorFlow."""
    done = subprocess.run([sys.executable, BENCHMARKS / script, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_reconstruct_damaged_files_end_in_a_volume_or_an_error():
    # `make damage` tries 500.
    output = run('damaged_files.py', '--files=40', '--seed=7')
    assert output.startswith('40 files: ')
    assert ' 0 others' in output
    # Both outcomes occurred.
    volumes, errors = (int(output.split(word)[0].split()[-1]) for word in (' volumes', ' errors'))
    assert volumes > 3
    assert errors > 10


@pytest.mark.slow
def test_reconstruct_unusual_files_are_right_or_reported():
    # Each kind of change twice. `make damage` tries 204.
    counts = run('unusual_files.py', '--files=34', '--seed=3').splitlines()[-1]
    assert counts.startswith('34 files: ')
    assert counts.endswith(' 0 wrong in silence')
    # Most files are completed.
    right = sum(int(part.split()[0]) for part in counts.removeprefix('34 files: ').split(', ') if 'right' in part)
    assert right > 17
