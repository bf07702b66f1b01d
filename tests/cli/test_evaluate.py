"""The command line of the evaluation, in a process of its own, with a model that needs no training."""

import json
import pathlib
import subprocess
import sys

import pytest

from tfp_bruno import data

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
NAMES = [f'sub-{number:02d}' for number in range(6)]

# Stands in for the trained model: `bin/evaluate` imports it late, so it can be put in its place.
DRIVER = """
import json, pathlib, sys, types
import numpy as np
from tfp_bruno import data

class Model:
    name = 'fake'
    definition = data.get_definition('fetal')

    def __init__(self, run_dir):
        self.info = json.loads((pathlib.Path(run_dir) / 'info.json').read_text())

    def predict(self, context_images, context_slices, query_slices):
        return np.full((len(context_images), len(query_slices), 64, 64), 0.5, np.float32)

    def sample(self, context_images, context_slices, query_slices, num_samples, seed):
        shape = (num_samples, len(context_images), len(query_slices), 64, 64)
        return np.random.default_rng(seed).random(shape, dtype=np.float32)

    def log_prob(self, images, slices):
        return np.zeros(len(images))

sys.modules['tfp_bruno.runs'] = types.SimpleNamespace(load=Model)
from tfp_bruno.cli import evaluate
evaluate.run()
"""


def call(*flags):
    # -c puts the working folder on the path.
    command = [sys.executable, '-c', DRIVER, *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)


@pytest.fixture(scope='module')
def population(tmp_path_factory, write_blobs):
    folder = tmp_path_factory.mktemp('population')
    for number, name in enumerate(NAMES):
        write_blobs(folder / f'{name}.nii.gz', number)
    return folder


@pytest.fixture
def run_dir(tmp_path, population):
    run_dir = tmp_path / 'run'
    data.write_split(run_dir / 'split.tsv', dict(zip(NAMES, ['train'] * 4 + ['test'] * 2, strict=True)))
    info = {
        'data_dir': str(population),
        'split_file': str(run_dir / 'split.tsv'),
        'seed': 0,
        'phantom_subjects': 5,
        'is_phantom': False,
        'data': 'six volumes of blobs',
        'version': '0.1',
    }
    (run_dir / 'info.json').write_text(json.dumps(info))
    return run_dir


def test_writes_the_report(run_dir, tmp_path):
    flags = ['--contexts=4,0', '--num_samples=2', f'--cache_dir={tmp_path / "cache"}']
    done = call(f'--run_dir={run_dir}', *flags)
    assert done.returncode == 0, done.stderr
    folder = run_dir / 'evaluation'
    for name in ('metrics.json', 'metrics.md', 'ssim_over_slices.png', 'completions.png'):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in done.stdout
    assert '| linear interpolation' in done.stdout
    found = json.loads((folder / 'metrics.json').read_text())
    assert list(found['contexts']) == ['0', '4']
    assert (found['dataset'], found['split'], found['num_subjects'], found['num_train_subjects']) == (
        'fetal',
        'test',
        2,
        4,
    )
    assert found['trained_on'] == 'six volumes of blobs'
    # A prediction that is the same everywhere says nothing about the truth.
    assert found['contexts']['4']['mean_image']['cc'] == 0


def test_other_volumes_are_all_test_subjects(run_dir, population, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    for name in NAMES[1:4]:
        (other / f'{name}.nii.gz').symlink_to(population / f'{name}.nii.gz')
    output_dir = tmp_path / 'elsewhere'
    flags = [f'--data_dir={other}', '--max_subjects=2', f'--output_dir={output_dir}', '--contexts=1', '--num_samples=1']
    done = call(f'--run_dir={run_dir}', *flags, f'--cache_dir={tmp_path / "cache"}')
    assert done.returncode == 0, done.stderr
    found = json.loads((output_dir / 'metrics.json').read_text())
    assert (found['num_subjects'], found['num_trained_on']) == (2, 2)
    assert str(other) in found['data']
    assert not (run_dir / 'evaluation').exists()
