"""The Python blocks of the documentation run, its links resolve, and its lines are wrapped."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.version import __version__

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted(page for folder in ('.', 'docs', 'benchmarks') for page in (ROOT / folder).glob('*.md'))
MAX_COLUMNS = 100


def name_of(page):
    return str(page.relative_to(ROOT))


def read(page):
    return page.read_text(encoding='utf-8')


def run(block):
    """Runs a block of a page; returns its variables."""
    defined = {'__name__': 'example'}
    exec(block, defined)
    return defined


def python_blocks(page):
    return re.findall(r'```python\n(.*?)```', read(page), re.DOTALL)


def without_code(text):
    """Returns Markdown without fenced blocks, indented blocks and code spans."""
    text = re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r'^ {4,}.*$', '', text, flags=re.MULTILINE)
    return re.sub(r'`[^`]*`', '', text)


def anchors(page):
    """Returns the anchors that GitHub makes of the headings of a page."""
    fenceless = re.sub(r'^```.*?^```$', '', read(page), flags=re.DOTALL | re.MULTILINE)
    found = []
    for heading in re.findall(r'^#+ (.*)$', fenceless, re.MULTILINE):
        text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
        slug = re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-')
        count = sum(re.fullmatch(re.escape(slug) + r'(-\d+)?', each) is not None for each in found)
        found.append(f'{slug}-{count}' if count else slug)
    return found


def log_abs_det(function, value):
    with tf.GradientTape() as tape:
        tape.watch(value)
        out = tf.reshape(function(value), [-1])
    size = out.shape[0]
    return np.linalg.slogdet(tf.reshape(tape.jacobian(out, value), [size, size]))[1]


def check_bijector(block, name):
    """Checks a class of `docs/extending.md`: 30 lines, gradients, inverse and log-determinant."""
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


def check_baselines(block):
    defined = run(block)
    assert defined['mean'].shape == (5, 5, 32, 32, 1)
    assert defined['bound'].shape == (5, 5)
    assert np.isfinite(defined['bound']).all()


def check_readme(block):
    defined = run(block)
    assert defined['images'].shape == (9, 64, 64, 1)
    assert np.isfinite(defined['subject'].log_prob(defined['images']))
    assert defined['rest'].mean_image(defined['poses'][4:]).shape == (5, 64, 64, 1)


# Checks of blocks, besides that they run, by page and position.
CHECKS = {
    ('README.md', 0): check_readme,
    ('docs/baselines.md', 0): check_baselines,
    ('docs/extending.md', 0): lambda block: check_bijector(block, 'flow'),
    ('docs/extending.md', 1): lambda block: check_bijector(block, 'chain'),
}
BLOCKS = {(name_of(page), index): block for page in PAGES for index, block in enumerate(python_blocks(page))}


@pytest.mark.parametrize('place', BLOCKS, ids=lambda place: f'{place[0]}-{place[1]}')
def test_python_block_runs(place):
    CHECKS.get(place, run)(BLOCKS[place])


def test_checks_belong_to_blocks():
    assert set(CHECKS) <= set(BLOCKS)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_relative_links_resolve(page):
    for link in re.findall(r'\]\(\s*([^)\s]+)[^)]*\)', without_code(read(page))):
        if re.match(r'[a-z]+:', link):
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f'{link} leaves the project'
        assert target.exists(), f'{link} does not exist'
        if anchor:
            assert target.suffix == '.md' and anchor in anchors(target), f'{link} has no such heading'


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_lines_are_wrapped(page):
    # Blocks keep their line breaks, so that a line's number is that of the page.
    fenceless = re.sub(
        r'^```.*?^```$', lambda found: '\n' * found[0].count('\n'), read(page), flags=re.DOTALL | re.MULTILINE
    )
    for number, line in enumerate(fenceless.split('\n'), 1):
        if line.startswith(('|', '    ')):
            continue
        shown = re.sub(r'\]\([^)]*\)|https?://\S+', '', line)
        assert len(shown) <= MAX_COLUMNS, f'line {number} has {len(shown)} characters: {line}'


@pytest.mark.parametrize(
    'path',
    [
        path
        for pattern in ('*.md', 'Makefile', 'docs/*.md', 'benchmarks/*', 'bin/*', 'tests/**/*.py', 'tfp_bruno/**/*.py')
        for path in sorted(ROOT.glob(pattern))
        # The changelog names pages that no longer exist.
        if path.is_file() and path.name != 'CHANGELOG.md'
    ],
    ids=name_of,
)
def test_named_pages_exist(path):
    for name in re.findall(r'\b(?:docs|benchmarks)/\w+\.md\b', read(path)):
        assert (ROOT / name).exists(), name


def test_version_is_the_same_everywhere():
    assert re.search(r'^version: (.*)$', read(ROOT / 'CITATION.cff'), re.MULTILINE).group(1) == __version__
    assert __version__ in read(ROOT / 'CHANGELOG.md')
