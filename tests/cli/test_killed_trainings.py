"""Trainings that are killed at random moments resume to the weights of one that was not."""

import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks' / 'killed_trainings.py'


@pytest.mark.slow
def test_two_killed_trainings_have_the_weights_of_the_uninterrupted_one():
    done = subprocess.run(
        [sys.executable, SCRIPT, '--kills=2', '--seed=1'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == '2 of 2 trainings have the weights of the uninterrupted one.'
