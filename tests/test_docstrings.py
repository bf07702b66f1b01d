"""The examples in docstrings run, and give the shapes that stand beside them."""

import pathlib
import re
import textwrap

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_bruno
import tfp_bruno.baselines
import tfp_bruno.networks
from tfp_bruno.baselines import ConditionalVAESettings, GenerativeQueryNetworkSettings

PACKAGE = pathlib.Path(tfp_bruno.__file__).parent
# Parts of the names of modules whose examples build whole networks.
SLOW = ('deep', 'conditional_real_nvp')


def examples():
    for path in sorted(PACKAGE.rglob('*.py')):
        for number, block in enumerate(re.findall(r'```python\n(.*?)```', path.read_text(), re.DOTALL)):
            name = f'{path.relative_to(PACKAGE)}-{number}'
            marks = [pytest.mark.slow] if any(part in name for part in SLOW) else []
            yield pytest.param(textwrap.dedent(block), id=name, marks=marks)


def random(*shape):
    return tf.constant(np.random.default_rng(0).uniform(0.1, 0.9, shape), tf.float32)


def given(block):
    """Returns what the examples take for given: images, poses, parameters."""
    contexts, queries = tf.eye(80)[tf.newaxis, :3], tf.eye(80)[tf.newaxis, 3:5]
    names = {
        'tf': tf,
        'tfp': tfp,
        'tfp_bruno': tfp_bruno,
        'ConditionalVAESettings': ConditionalVAESettings,
        'GenerativeQueryNetworkSettings': GenerativeQueryNetworkSettings,
        'context_images': random(1, 3, 64, 64, 1),
        'context_poses': contexts,
        'query_images': random(1, 2, 64, 64, 1),
        'query_poses': queries,
        'latents': random(2, 4096),
        'images': random(9, 64, 64, 1),
        'positions': random(9, 1),
        'poses': tf.eye(80)[:2] if 'latents' in block else tf.eye(80)[:9],
        'other_poses': tf.eye(80)[9:14],
        'loadings': random(80, 3, 2),
        'variance': random(3),
        'kernel': tfp.math.psd_kernels.MaternOneHalf(length_scale=8.0),
    }
    if 'process.at(poses)' in block and 'loadings' not in block:
        # Without a flow, poses of one number each.
        names |= {'poses': random(9, 1), 'other_poses': random(5, 1)}
    return names


@pytest.mark.parametrize('block', examples())
def test_docstring_example_runs(block):
    names = given(block)
    exec(block, names)
    lines = re.findall(r'^(?:(\w+) = )?([^#\n]*?)\s+# (\[[\d, ]*\])(?: |,|$)', block, re.MULTILINE)
    for name, expression, shape in lines:
        if expression.count('(') == expression.count(')'):
            value = names[name] if name else eval(expression, names)
            # D, the number of dimensions, is written as a number here.
            assert str(value.shape.as_list()) == shape, expression
