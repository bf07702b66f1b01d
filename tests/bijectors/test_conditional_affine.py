"""The affine map per condition against NumPy."""

import numpy as np
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalAffine

RNG = np.random.default_rng(0)
LOC, SCALE = RNG.normal(size=(3, 2, 2, 1)), RNG.uniform(0.5, 2.0, size=(3, 2, 2, 1))


def test_conditional_affine_starts_as_the_identity():
    bijector = ConditionalAffine((2, 2, 1), 3)
    x = RNG.normal(size=(2, 2, 2, 1)).astype(np.float32)
    y, log_det = bijector.forward_and_log_det(x, tf.ones([2, 3]))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, [0, 0])


def test_initialize_reproduces_one_image_per_condition():
    bijector = ConditionalAffine((2, 2, 1), 3, dtype=tf.float64)
    bijector.initialize(LOC, SCALE, np.eye(3), ridge=1e-12)
    x = RNG.normal(size=(3, 2, 2, 1))
    y, log_det = bijector.forward_and_log_det(x, np.eye(3))
    np.testing.assert_allclose(y, LOC + SCALE * x, atol=1e-10)
    np.testing.assert_allclose(log_det, np.log(SCALE).sum((1, 2, 3)), atol=1e-10)


def test_initialize_is_least_squares_over_overlapping_conditions():
    conditions = RNG.normal(size=(3, 2))
    bijector = ConditionalAffine((2, 2, 1), 2, dtype=tf.float64)
    bijector.initialize(LOC, SCALE, conditions, ridge=0.0)
    loc_table = np.linalg.lstsq(conditions, LOC.reshape(3, -1), rcond=None)[0]
    log_scale_table = np.linalg.lstsq(conditions, np.log(SCALE).reshape(3, -1), rcond=None)[0]
    new, x = RNG.normal(size=2), RNG.normal(size=(2, 2, 1))
    expected = (new @ loc_table) + np.exp(new @ log_scale_table) * x.ravel()
    np.testing.assert_allclose(np.ravel(bijector.forward(x, conditional_input=new)), expected, rtol=1e-9)


def test_initialize_with_fewer_conditions_than_their_size():
    bijector = ConditionalAffine((2, 2, 1), 5, dtype=tf.float64)
    bijector.initialize(LOC, SCALE, np.eye(5)[:3])
    y = bijector.forward(np.zeros((5, 2, 2, 1)), conditional_input=np.eye(5))
    np.testing.assert_allclose(y[:3], LOC, atol=1e-5)
    np.testing.assert_array_equal(y[3:], np.zeros((2, 2, 2, 1)))
