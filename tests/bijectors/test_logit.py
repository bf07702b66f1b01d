"""The logit against SciPy."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from tfp_bruno.bijectors import ImageLogit


def test_values_are_scipy_logits():
    image = np.random.default_rng(0).uniform(size=(5, 2, 3, 1))
    bijector = ImageLogit((2, 3, 1), alpha=0.2, dtype=tf.float64)
    p = 0.8 * image + 0.1
    np.testing.assert_allclose(bijector.inverse(image), scipy.special.logit(p), rtol=1e-12)
    expected = np.sum(np.log(0.8 / (p * (1 - p))), axis=(1, 2, 3))
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(image), expected, rtol=1e-12)


def test_black_and_white_are_finite():
    x, log_det = ImageLogit((1, 2, 1), alpha=0.01).inverse_and_log_det(tf.constant([[[0.0], [1.0]]]))
    np.testing.assert_allclose(x[0, :, 0], scipy.special.logit([0.005, 0.995]), rtol=1e-5)
    assert np.isfinite(log_det)


@pytest.mark.parametrize('alpha', [0.0, 1.0, -0.1])
def test_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match='`alpha` must be in'):
        ImageLogit((1, 1, 1), alpha)


@pytest.mark.parametrize('level', [-0.2, 1.2, 255.0])
def test_validate_args_refuses_images_outside_the_range(level):
    bijector = ImageLogit((1, 1, 1), alpha=0.2, validate_args=True)
    bijector.inverse(tf.constant([[[-0.12]]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'must lie in \(-0.1250, 1.1250\)'):
        bijector.inverse(tf.constant([[[level]]]))
    inverse = tf.function(bijector.inverse)
    with pytest.raises(tf.errors.InvalidArgumentError, match='scale the image'):
        inverse(tf.constant([[[level]]]))


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_logits_that_saturate_make_images_with_a_latent(dtype):
    bijector = ImageLogit((1, 2, 1), alpha=0.2, dtype=dtype)
    image = bijector.forward(tf.constant([[[-300.0], [300.0]]], dtype))
    latent, log_det = bijector.inverse_and_log_det(tf.identity(image))
    assert np.all(np.isfinite(latent))
    assert np.isfinite(log_det)
    np.testing.assert_allclose(bijector.forward(latent), image, atol=1e-6)
    # What is no image has none.
    assert np.all(np.isnan(bijector.inverse(tf.constant([[[-0.2], [1.2]]], dtype))))


def test_validate_args_refuses_nan():
    with pytest.raises(tf.errors.InvalidArgumentError, match='scale the image'):
        ImageLogit((1, 1, 1), alpha=0.2, validate_args=True).inverse(tf.constant([[[np.nan]]]))
