"""The couplings and the masks against their formulas."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import (
    AffineCoupling,
    MaskedAffineCoupling,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
)


def conditioner(fixed, condition):
    """A callable with a log-scale beyond the bound."""
    shift = fixed**2 + tf.reduce_sum(condition, -1)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return shift, 10.0 * fixed


@pytest.mark.parametrize('swap', [False, True])
def test_affine_coupling_follows_its_formula(swap):
    rng = np.random.default_rng(0)
    x, condition = rng.normal(size=(5, 2, 2, 4)), rng.normal(size=(5, 3))
    bijector = AffineCoupling((2, 2, 4), conditioner, 3, swap, log_scale_bound=1.5, dtype=tf.float64)
    fixed, changed = (x[..., 2:], x[..., :2]) if swap else (x[..., :2], x[..., 2:])
    log_scale = 1.5 * np.tanh(10.0 * fixed / 1.5)
    changed = changed * np.exp(log_scale) + fixed**2 + condition.sum(-1)[:, None, None, None]
    y, log_det = bijector.forward_and_log_det(x, condition)
    np.testing.assert_allclose(y, np.concatenate([changed, fixed] if swap else [fixed, changed], -1), rtol=1e-10)
    np.testing.assert_allclose(log_det, log_scale.sum((1, 2, 3)), rtol=1e-10)


def test_affine_coupling_casts_outputs_of_reduced_precision():
    bijector = AffineCoupling((2, 2, 4), lambda fixed, _: (tf.cast(fixed, tf.bfloat16),) * 2, 3)
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 2, 4)), tf.float32)
    y, log_det = bijector.forward_and_log_det(x, tf.zeros([2, 3]))
    assert (y.dtype, log_det.dtype) == (tf.float32, tf.float32)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y), conditional_input=tf.zeros([2, 3])), x, atol=1e-5)


def test_affine_coupling_rejects_odd_channels():
    with pytest.raises(ValueError, match=r'even number of channels, got `event_shape` \[4, 4, 3\]'):
        AffineCoupling((4, 4, 3), conditioner, 3)


def test_masks_keep_complementary_elements():
    np.testing.assert_array_equal(checkerboard_mask((2, 3, 1))[..., 0], [[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(checkerboard_mask((2, 2, 2), 1)[..., 1], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(channel_mask((1, 1, 4))[0, 0], [1, 1, 0, 0])
    np.testing.assert_array_equal(channel_mask((1, 1, 4), 1)[0, 0], [0, 0, 1, 1])
    np.testing.assert_array_equal(alternating_mask((1, 3, 2)).ravel(), [0, 1, 0, 1, 0, 1])
    for mask in (checkerboard_mask, channel_mask, alternating_mask):
        np.testing.assert_array_equal(mask((4, 4, 2)) + mask((4, 4, 2), 1), np.ones((4, 4, 2)))


@pytest.mark.parametrize('mask', [checkerboard_mask, channel_mask, alternating_mask])
def test_masked_affine_coupling_follows_its_formula(mask):
    def conditioner(kept, condition):
        return kept**2 + tf.reduce_sum(condition, -1)[:, tf.newaxis, tf.newaxis, tf.newaxis], 10.0 * kept + 1.0

    rng, mask = np.random.default_rng(0), mask((4, 2, 2), 1)
    x, condition = rng.normal(size=(5, 4, 2, 2)), rng.normal(size=(5, 3))
    bijector = MaskedAffineCoupling(mask, conditioner, 3, log_scale_bound=1.5, dtype=tf.float64)
    log_scale = 1.5 * np.tanh((10.0 * mask * x + 1.0) / 1.5)
    shift = (mask * x) ** 2 + condition.sum(-1)[:, None, None, None]
    y, log_det = bijector.forward_and_log_det(x, condition)
    np.testing.assert_allclose(y, np.where(mask == 1, x, x * np.exp(log_scale) + shift), rtol=1e-10)
    np.testing.assert_allclose(log_det, ((1 - mask) * log_scale).sum((1, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y), conditional_input=condition), x, atol=1e-10)


def test_masked_affine_coupling_rejects_masks_of_other_numbers():
    with pytest.raises(ValueError, match=r'zeros and ones, got \[0.5\]'):
        MaskedAffineCoupling(np.full((2, 2, 1), 0.5), None, 3)
