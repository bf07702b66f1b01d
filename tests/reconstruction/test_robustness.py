"""Files that were damaged at random end in a volume or in one line, and leave nothing half-written."""

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def test_damaged_files():
    # A process of its own: it forks, which one with TensorFlow's threads should not. `make damage` tries 500.
    command = [sys.executable, REPOSITORY / 'benchmarks' / 'damaged_files.py', '--files=40', '--seed=7']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith('40 files: ')
    assert ' 0 others' in done.stdout
    # Both ways out were taken.
    volumes, errors = (int(done.stdout.split(word)[0].split()[-1]) for word in (' volumes', ' errors'))
    assert volumes > 3
    assert errors > 10
