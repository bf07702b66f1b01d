"""Files that are valid but unusual give the right volume, or a warning or an error says why not."""

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def test_no_unusual_file_is_wrong_in_silence():
    # Each kind of change twice. `make damage` tries 204.
    command = [sys.executable, REPOSITORY / 'benchmarks' / 'unusual_files.py', '--files=34', '--seed=3']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = done.stdout.splitlines()[-1]
    assert counts.startswith('34 files: ')
    assert counts.endswith(' 0 wrong in silence')
    # Most files are completed.
    right = sum(int(part.split()[0]) for part in counts.removeprefix('34 files: ').split(', ') if 'right' in part)
    assert right > 17
