"""Sufficient statistics block by block, against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.distributions import _sufficient_statistics as statistics


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of four steps, whatever the size."""
    monkeypatch.setattr(statistics, '_BLOCK', 0)
    monkeypatch.setattr(statistics, '_FEWEST_STEPS', 4)


def expected_sums(z, loc, weights):
    """(n, total, spread) of one sequence `[n, D]`, written out."""
    z = np.asarray(z)[weights]
    spread = ((z - z.mean(0)) ** 2).sum(0) if len(z) else np.zeros(z.shape[1])
    return len(z), (z - loc).sum(0), spread


@pytest.mark.parametrize('n', [0, 1, 4, 5, 8, 19])
def test_sufficient_statistics_match_numpy(n, small_blocks, draw):
    z, loc = tf.constant(draw(n, 3)), draw(3, seed=1)
    for sums in (
        statistics.sufficient_statistics(z, loc),
        tf.function(statistics.sufficient_statistics, jit_compile=True)(z, loc),
    ):
        for part, expected in zip(sums, expected_sums(z, loc, slice(None)), strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-12, atol=1e-12)


def test_sufficient_statistics_of_weighted_batch(small_blocks, draw):
    """Sequences of different lengths, one of them empty, and a block in which all steps are missing."""
    z, loc = draw(5, 11, 3), draw(5, 3, seed=1)
    weights = np.arange(11) < np.array([11, 6, 4, 1, 0])[:, np.newaxis]
    weights[0, 4:8] = False
    padded = tf.constant(np.where(weights[..., np.newaxis], z, np.nan))
    sums = statistics.sufficient_statistics(padded, loc, weights.astype(float))
    each = [expected_sums(*one) for one in zip(z, loc, weights, strict=True)]
    for part, expected in zip(sums, zip(*each, strict=True), strict=True):
        expected = np.reshape(expected, part.shape)
        np.testing.assert_allclose(part, expected, rtol=1e-12, atol=1e-12)


def test_sufficient_statistics_of_unknown_shapes(small_blocks, draw):
    z, loc = draw(9, 3), draw(3, seed=1)
    spec = [tf.TensorSpec([None, 3], tf.float64), tf.TensorSpec([3], tf.float64)]
    sums = tf.function(statistics.sufficient_statistics, input_signature=spec)(z, loc)
    for part, expected in zip(sums, expected_sums(z, loc, slice(None)), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)


def test_spread_first_and_second_derivatives(small_blocks, draw):
    """The spread is `z^T C z` in each dimension, where C subtracts the mean."""
    z, direction = tf.constant(draw(9, 3)), draw(9, 3, seed=1)
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            spread = tf.reduce_sum(statistics.sufficient_statistics(z, tf.zeros(3, tf.float64)).spread)
        gradient = inner.gradient(spread, z)
        along = tf.reduce_sum(gradient * direction)
    np.testing.assert_allclose(gradient, 2 * (z - np.mean(z, 0)), atol=1e-12)
    np.testing.assert_allclose(outer.gradient(along, z), 2 * (direction - direction.mean(0)), atol=1e-12)


@pytest.mark.parametrize('offset', [0.0, 100.0])
def test_sufficient_statistics_in_float32_of_many_blocks(offset):
    """The default block size, for vectors of three blocks, at a mean that is large against the deviations."""
    z = (np.random.default_rng(0).normal(size=(4096, 600)) + offset).astype(np.float32)
    loc = np.full(600, offset, np.float32)
    assert len(statistics._block_sizes(tf.TensorShape(z.shape))) == 3
    _, total, spread = expected_sums(z.astype(np.float64), loc.astype(np.float64), slice(None))
    sums = statistics.sufficient_statistics(tf.constant(z), tf.constant(loc))
    np.testing.assert_allclose(sums.spread, spread, rtol=1e-5)
    # In units of the deviation of a sum.
    np.testing.assert_allclose(sums.total / 64, total / 64, atol=1e-4)
