"""The examples of the documentation run, and its links lead somewhere."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

DOCS = pathlib.Path(__file__).resolve().parents[1] / 'docs'
BLOCKS = re.findall(r'```python\n(.*?)```', (DOCS / 'extending.md').read_text(encoding='utf-8'), re.DOTALL)


def run(block):
    """What a block of the page defines."""
    defined = {'__name__': 'example'}
    exec(block, defined)
    return defined


def log_abs_det(function, value):
    with tf.GradientTape() as tape:
        tape.watch(value)
        out = tf.reshape(function(value), [-1])
    size = out.shape[0]
    return np.linalg.slogdet(tf.reshape(tape.jacobian(out, value), [size, size]))[1]


@pytest.mark.parametrize(('block', 'name'), zip(BLOCKS, ('flow', 'chain'), strict=True))
def test_examples(block, name):
    # "In 30 lines": the class itself.
    body = block[block.index('class ') :]
    assert len(re.findall(r'^(class|    .*\S)', body, re.MULTILINE)) <= 30
    bijector, rng = run(block)[name], np.random.default_rng(0)
    for variable in bijector.trainable_variables:
        variable.assign_add(0.01 * rng.normal(size=variable.shape))
    poses = tf.one_hot([3, 7], 10)
    x = tf.constant(rng.normal(size=(2, *bijector.inverse_event_shape([16, 16, 1]))), tf.float32)
    with tf.GradientTape() as tape:
        y, log_det = bijector.forward_and_log_det(x, poses)
        loss = tf.reduce_sum(y**2) + tf.reduce_sum(log_det)
    for variable, gradient in zip(
        bijector.trainable_variables, tape.gradient(loss, bijector.trainable_variables), strict=True
    ):
        assert gradient is not None and np.any(gradient != 0), variable.name
    np.testing.assert_allclose(bijector.inverse(tf.identity(y), conditional_input=poses), x, atol=1e-3)
    expected = log_abs_det(lambda value: bijector.forward(value, conditional_input=poses[:1]), x[:1])
    np.testing.assert_allclose(log_det[0], expected, rtol=1e-4)


def test_the_example_of_the_baselines():
    text = (DOCS / 'baselines.md').read_text(encoding='utf-8')
    defined = run(re.search(r'```python\n(.*?)```', text, re.DOTALL).group(1))
    assert defined['mean'].shape == (5, 5, 32, 32, 1)
    assert defined['bound'].shape == (5, 5)
    assert np.isfinite(defined['bound']).all()


def test_the_example_of_the_readme():
    text = (DOCS.parent / 'README.md').read_text(encoding='utf-8')
    defined = run(re.search(r'```python\n(.*?)```', text, re.DOTALL).group(1))
    assert defined['images'].shape == (9, 64, 64, 1)
    assert defined['rest'].mean_image(defined['poses'][4:]).shape == (5, 64, 64, 1)


@pytest.mark.parametrize('page', [*DOCS.glob('*.md'), *DOCS.parent.glob('*.md'), *DOCS.parent.glob('benchmarks/*.md')])
def test_links_lead_somewhere(page):
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    for link in re.findall(r'\]\(([^)\s]+)\)', text):
        path, _, anchor = link.partition('#')
        if '://' in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r'^#+ (.*)$', target.read_text(encoding='utf-8'), re.MULTILINE)
            assert anchor in [re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings], link
