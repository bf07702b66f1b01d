"""Sums over whitened loadings in blocks of dimensions, against NumPy in float64 and central differences."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.distributions import _factor_sums as factor_sums

NAMES = ('table', 'scale', 'mixing', 'residuals')
ROWS = np.array([[0, 3, 3], [4, 1, 0]])


@pytest.fixture(params=[1, 4])
def block(request, monkeypatch):
    """Blocks of one dimension, and of four."""
    monkeypatch.setattr(factor_sums, '_BLOCK', 0)
    monkeypatch.setattr(factor_sums, '_FEWEST_DIMENSIONS', request.param)
    return request.param


def make_values(draw, groups=2, batched_scale=True, steps=2):
    """Two sequences of three steps, eight dimensions in groups, three factors."""
    table, mixing, residuals = draw(5, 8, 3), draw(2, groups, steps, 3, seed=1), draw(2, 3, 8, seed=2)
    return dict(zip(NAMES, (table, np.exp(draw(2 if batched_scale else 1, 8, seed=3)), mixing, residuals), strict=True))


def dense(table, scale, mixing, residuals):
    loadings = table[ROWS]
    by_dimension = np.repeat(mixing, 8 // mixing.shape[1], axis=1)
    mixed = np.einsum('bdmn,bndq->bmdq', by_dimension, loadings) * scale[:, np.newaxis, :, np.newaxis]
    return np.einsum('bmdp,bmdq->bpq', mixed, mixed), np.einsum('bndq,bnd->bq', loadings, residuals)


def sums(values):
    return factor_sums.sum_loadings(values['table'], tf.constant(ROWS), *(values[name] for name in NAMES[1:]))


@pytest.mark.parametrize('compiled', [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(('groups', 'batched_scale', 'steps'), [(1, False, 3), (2, True, 2), (2, True, 0)])
def test_sum_loadings_matches_numpy(groups, batched_scale, steps, compiled, block, draw):
    values = make_values(draw, groups, batched_scale, steps)
    function = tf.function(sums, jit_compile=True) if compiled else sums
    found = function({name: tf.constant(value) for name, value in values.items()})
    for part, expected in zip(found, dense(**values), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-10, atol=1e-10)


def loss(precision, projection):
    """A function of both whose gradient with respect to the precision is not symmetric."""
    return tf.reduce_sum(precision * np.cos(np.arange(9)).reshape(3, 3)) + tf.reduce_sum(tf.square(projection))


@pytest.mark.parametrize('known', [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize('batched_scale', [False, True])
def test_sum_loadings_gradients_match_differences(batched_scale, known, block, draw):
    """Also where the number of sequences is known only at run time."""
    values = make_values(draw, batched_scale=batched_scale)

    def gradients(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = loss(*sums(values))
        return tape.gradient(total, values)

    tensors = {name: tf.constant(value) for name, value in values.items()}
    batched = {'mixing': [None, 2, 2, 3], 'residuals': [None, 3, 8]} if not known else {}
    spec = {name: tf.TensorSpec(batched.get(name, value.shape), value.dtype) for name, value in tensors.items()}
    found = tf.function(gradients, input_signature=[spec])(tensors)
    assert isinstance(found['table'], tf.IndexedSlices)
    for name, value in values.items():
        direction = draw(*value.shape, seed=5)
        sides = [loss(*dense(**{**values, name: value + step * direction})) for step in (1e-6, -1e-6)]
        along = np.sum(tf.convert_to_tensor(found[name]) * direction)
        np.testing.assert_allclose(along, (sides[0] - sides[1]) / 2e-6, rtol=1e-6, err_msg=name)


def test_sum_loadings_second_derivatives(block, draw):
    """The precision is quadratic in the table, so its second derivative along a direction is a difference."""
    values = make_values(draw)
    table, direction = tf.constant(values['table']), draw(5, 8, 3, seed=5)
    with tf.GradientTape() as outer:
        outer.watch(table)
        with tf.GradientTape() as inner:
            inner.watch(table)
            total = loss(*sums({**values, 'table': table}))
        along = tf.reduce_sum(tf.convert_to_tensor(inner.gradient(total, table)) * direction)
    second = np.sum(tf.convert_to_tensor(outer.gradient(along, table)) * direction)
    sides = [loss(*dense(**{**values, 'table': values['table'] + step * direction})) for step in (1.0, 0.0, -1.0)]
    np.testing.assert_allclose(second, sides[0] - 2 * sides[1] + sides[2], rtol=1e-9)


@pytest.mark.parametrize(('dimension', 'expected'), [(4096, 256), (4099, 4099), (96, 96), (20000, 400)])
def test_block_size_divides_the_dimensions(dimension, expected):
    """Unless all divisors are small: then one block takes all dimensions."""
    size = factor_sums._block_size(tf.TensorShape([80, dimension, 128]), tf.TensorShape([4, 9]), dimension)
    assert size == expected
    unknown = factor_sums._block_size(tf.TensorShape([80, 4096, 128]), tf.TensorShape([4, None]), 4096)
    assert unknown == 256
