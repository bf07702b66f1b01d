"""Moments of a batch against NumPy."""

import numpy as np
import tensorflow as tf

from tfp_bruno.networks.data_dependent_init import channel_moments, replace_unless

BATCH = np.random.default_rng(0).normal([1.0, -2.0, 5.0], [0.5, 3.0, 0.0], size=(6, 3, 4, 3))


def test_channel_moments_match_numpy():
    mean, scale = channel_moments(tf.constant(BATCH))
    np.testing.assert_allclose(mean, BATCH.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(scale[:2], BATCH[..., :2].std((0, 1, 2)), rtol=1e-12)
    # A constant channel.
    assert scale[2] == 1.0


def test_channel_moments_of_bfloat16_are_float32():
    value = tf.cast(BATCH, tf.bfloat16)
    mean, scale = channel_moments(value)
    assert (mean.dtype, scale.dtype) == (tf.float32, tf.float32)
    np.testing.assert_allclose(mean, tf.cast(value, tf.float32).numpy().mean((0, 1, 2)), rtol=1e-5)


def test_replace_unless_keeps_value_and_dtype():
    old, new = tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0], tf.float64)
    for keep, expected in ((True, [1.0, 2.0]), (False, [3.0, 4.0])):
        result = replace_unless(tf.constant(keep), old, new)
        assert result.dtype == tf.float32
        np.testing.assert_array_equal(result, expected)
