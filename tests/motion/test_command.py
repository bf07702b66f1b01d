"""The command `bin/simulate`."""

import json
import pathlib
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import write_volume
from tfp_bruno.motion import MotionSettings, StackProtocol, read_motion_table, simulate_stacks

pytestmark = pytest.mark.slow
BINARY = pathlib.Path(__file__).resolve().parents[2] / 'bin' / 'simulate'
SMALL = ('--thickness=4', '--spacing=8', '--pixel_spacing=3')


@pytest.fixture
def volume(blobs, tmp_path):
    write_volume(tmp_path / 'in' / 'volume.nii.gz', blobs.volume, blobs.affine)
    write_volume(tmp_path / 'in' / 'mask.nii.gz', blobs.mask.astype(np.uint8), blobs.affine)
    return tmp_path / 'in' / 'volume.nii.gz'


def run(*flags):
    return subprocess.run([sys.executable, BINARY, *map(str, flags)], capture_output=True, text=True, check=False)


def test_simulate_writes_the_stacks_of_the_library(blobs, volume, tmp_path):
    flags = (f'--input={volume}', f'--mask={volume.parent / "mask.nii.gz"}', *SMALL, '--rotation=5', '--seed=7')
    done = run(*flags, f'--output_dir={tmp_path / "out"}')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / 'out' / 'motion.tsv')] and done.stderr == ''
    image = nibabel.load(volume)
    expected = simulate_stacks(
        np.asarray(image.dataobj),
        blobs.mask,
        image.affine,
        StackProtocol(4.0, 8.0, 3.0),
        MotionSettings(10.0, 5.0),
        seed=7,
    )
    found = read_motion_table(tmp_path / 'out' / 'motion.tsv')
    for stack, transforms in zip(expected.stacks, expected.transforms, strict=True):
        np.testing.assert_allclose(found[stack.name], transforms, atol=1e-5)
        written = nibabel.load(tmp_path / 'out' / 'stacks' / f'{stack.name}.nii.gz').get_fdata()
        np.testing.assert_allclose(written, stack.data, atol=1e-6)
    about = json.loads((tmp_path / 'out' / 'simulation.json').read_text())
    assert about['seed'] == 7 and about['motion']['rotation'] == 5.0 and about['protocol']['spacing'] == 8.0
    again = run(*flags, f'--output_dir={tmp_path / "out"}')
    assert again.returncode == 1 and 'is not empty' in again.stderr


def test_simulate_bad_input_is_one_line_and_leaves_nothing(blobs, volume, tmp_path):
    folder = volume.parent
    write_volume(folder / 'small.nii.gz', blobs.mask[1:].astype(np.uint8), blobs.affine)
    write_volume(folder / 'negative.nii.gz', blobs.volume - 1, blobs.affine)
    given = f'--input={volume}'
    for flags, named in (
        ((f'--input={folder / "missing.nii.gz"}',), 'missing.nii.gz'),
        ((given, f'--mask={folder / "small.nii.gz"}'), 'another grid'),
        ((given, '--thickness=20'), '--thickness'),
        ((given, '--translation=500'), '--translation=500'),
        ((given, '--planes=oblique'), '--planes=oblique'),
        ((f'--input={folder / "negative.nii.gz"}', f'--mask={folder / "mask.nii.gz"}'), 'intensities down to -1'),
    ):
        done = run(*flags, f'--output_dir={tmp_path / "out"}')
        assert done.returncode == 1, (flags, done.stdout)
        assert done.stderr.startswith('bin/simulate: error: ') and named in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert not (tmp_path / 'out').exists()
