"""What a command starts TensorFlow with."""

import subprocess
import sys

from absl import flags

from tfp_bruno.cli import app

ASK = """
from tfp_bruno.cli import app
app.import_tensorflow()
import tensorflow as tf
print(tf.config.experimental.tensor_float_32_execution_enabled())
"""


def test_float32_keeps_all_its_bits_on_gpus():
    # In a process of its own: the setting is global, and on by default.
    asked = subprocess.run([sys.executable, '-c', ASK], capture_output=True, text=True, check=True)
    assert asked.stdout == 'False\n'
    assert asked.stderr == ''


def test_messages_name_the_flags_of_the_command():
    flags.DEFINE_float('spacing_of_test', None, 'Side of a voxel.', flag_values=flags.FLAGS)
    try:
        given = app.with_flags('`spacing_of_test=2`: is too small; give a larger `spacing_of_test`, not `thickness`.')
    finally:
        delattr(flags.FLAGS, 'spacing_of_test')
    assert given == '--spacing_of_test=2: is too small; give a larger --spacing_of_test, not `thickness`.'
