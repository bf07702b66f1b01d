"""TensorFlow is imported only with a deep baseline."""

import os
import pathlib
import subprocess
import sys

import pytest

import tfp_bruno
from tfp_bruno import baselines

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_classical_baselines_and_evaluation_do_not_import_tensorflow():
    code = 'import sys, tfp_bruno.baselines, tfp_bruno.evaluation; sys.exit("tensorflow" in sys.modules)'
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    assert subprocess.run([sys.executable, '-c', code], env=environment, check=False).returncode == 0


def test_deep_baselines_are_found_by_name():
    assert tfp_bruno.baselines.GenerativeQueryNetwork.__name__ == 'GenerativeQueryNetwork'
    assert all(getattr(baselines, name) for name in baselines.__all__)
    with pytest.raises(AttributeError, match='no_such_baseline'):
        _ = baselines.no_such_baseline
