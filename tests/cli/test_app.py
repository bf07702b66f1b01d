"""The start of a command: TensorFlow, and flags in messages."""

import subprocess
import sys

import pytest
from absl import flags

from tfp_bruno.cli import app

ASK = """
from tfp_bruno.cli import app
app.import_tensorflow()
import tensorflow as tf
print(tf.config.experimental.tensor_float_32_execution_enabled())
"""


@pytest.mark.slow
def test_import_tensorflow_disables_tensor_float_32():
    # In another process: the setting is global, and on by default.
    asked = subprocess.run([sys.executable, '-c', ASK], capture_output=True, text=True, check=True)
    assert asked.stdout == 'False\n'
    assert asked.stderr == ''


def test_with_flags_names_the_flags_of_the_command():
    flags.DEFINE_float('spacing_of_test', None, 'Side of a voxel.', flag_values=flags.FLAGS)
    try:
        given = app.with_flags('`spacing_of_test=2`: is too small; give a larger `spacing_of_test`, not `thickness`.')
    finally:
        delattr(flags.FLAGS, 'spacing_of_test')
    assert given == '--spacing_of_test=2: is too small; give a larger --spacing_of_test, not `thickness`.'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'flag'),
    [
        ('train', 'preset'),
        ('atlas', 'modes'),
        ('evaluate', 'contexts'),
        ('reconstruct', 'scan_slices'),
        ('phantom', 'subjects'),
        ('simulate', 'translation'),
    ],
)
def test_help_shows_an_example_and_the_flags(call_warm, name, flag):
    done = call_warm(name, '--help')
    assert (done.returncode, done.stderr) == (0, '')
    assert f'bin/{name} --' in done.stdout
    assert f'--{flag}' in done.stdout
    assert '--output_dir' in done.stdout


def test_print_path_prints_bytes_but_no_escapes_to_a_terminal(capsys, monkeypatch):
    app.print_path('a\x1b[31m')
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True)
    app.print_path('a\x1b[31m')
    assert capsys.readouterr().out == 'a\x1b[31m\na\\x1b[31m\n'
