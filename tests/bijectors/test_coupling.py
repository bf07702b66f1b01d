"""The coupling against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import AffineCoupling


def conditioner(fixed, condition):
    """Any callable will do; its log-scale is large on purpose."""
    shift = fixed**2 + tf.reduce_sum(condition, -1)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return shift, 10.0 * fixed


@pytest.mark.parametrize('swap', [False, True])
def test_values_follow_the_formula(swap):
    rng = np.random.default_rng(0)
    x, condition = rng.normal(size=(5, 2, 2, 4)), rng.normal(size=(5, 3))
    bijector = AffineCoupling((2, 2, 4), conditioner, 3, swap, log_scale_bound=1.5, dtype=tf.float64)
    fixed, changed = (x[..., 2:], x[..., :2]) if swap else (x[..., :2], x[..., 2:])
    log_scale = 1.5 * np.tanh(10.0 * fixed / 1.5)
    changed = changed * np.exp(log_scale) + fixed**2 + condition.sum(-1)[:, None, None, None]
    y, log_det = bijector.forward_and_log_det(x, condition)
    np.testing.assert_allclose(y, np.concatenate([changed, fixed] if swap else [fixed, changed], -1), rtol=1e-10)
    np.testing.assert_allclose(log_det, log_scale.sum((1, 2, 3)), rtol=1e-10)


def test_reduced_precision_networks_are_cast():
    bijector = AffineCoupling((2, 2, 4), lambda fixed, _: (tf.cast(fixed, tf.bfloat16),) * 2, 3)
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 2, 4)), tf.float32)
    y, log_det = bijector.forward_and_log_det(x, tf.zeros([2, 3]))
    assert (y.dtype, log_det.dtype) == (tf.float32, tf.float32)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y), conditional_input=tf.zeros([2, 3])), x, atol=1e-5)


def test_odd_channels():
    with pytest.raises(ValueError, match=r'even number of channels, got `event_shape` \[4, 4, 3\]'):
        AffineCoupling((4, 4, 3), conditioner, 3)
