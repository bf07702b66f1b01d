"""What a command starts TensorFlow with."""

import subprocess
import sys

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
