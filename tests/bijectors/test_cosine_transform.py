"""The cosine transform against SciPy, and its Jacobian."""

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalRealNVP, CosineTransform, GlowSettings
from tfp_bruno.bijectors.cosine_transform import transform_images

IMAGES = np.random.default_rng(0).normal(size=(3, 6, 4, 2))
EXPECTED = scipy.fft.dctn(IMAGES, axes=(1, 2), norm='ortho')


def test_forward_is_the_cosine_transform_of_scipy():
    coefficients, log_det = CosineTransform((6, 4, 2), dtype=tf.float64).forward_and_log_det(IMAGES)
    np.testing.assert_allclose(coefficients, EXPECTED, atol=1e-12)
    np.testing.assert_array_equal(log_det, np.zeros(3))


def test_inverse_is_that_of_scipy():
    images, log_det = CosineTransform((6, 4, 2), dtype=tf.float64).inverse_and_log_det(EXPECTED)
    np.testing.assert_allclose(images, IMAGES, atol=1e-12)
    np.testing.assert_array_equal(log_det, np.zeros(3))


def test_jacobian_is_orthogonal():
    image = tf.constant(IMAGES[0])
    with tf.GradientTape() as tape:
        tape.watch(image)
        coefficients = transform_images(image)
    jacobian = np.reshape(tape.jacobian(coefficients, image), [48, 48])
    np.testing.assert_allclose(jacobian @ jacobian.T, np.eye(48), atol=1e-12)


def test_images_may_have_any_batch():
    batch = np.stack([IMAGES, -IMAGES])
    np.testing.assert_allclose(transform_images(tf.constant(batch)), [EXPECTED, -EXPECTED], atol=1e-12)


def test_latents_of_an_untrained_flow_are_frequencies_of_the_logits():
    settings = GlowSettings(
        couplings=(2, 1), dense_couplings=1, first_squeeze=2, filters=(8, 8), dense_units=16, pose_units=8
    )
    flow = ConditionalRealNVP((8, 8, 1), 3, settings, latents='frequencies', dtype=tf.float64)
    images, poses = np.random.default_rng(1).uniform(0.05, 0.95, size=(2, 8, 8, 1)), np.eye(3)[:2]
    latents, log_det = flow.inverse_and_log_det(images, poses)
    expected = scipy.fft.dctn(flow.logit(images), axes=(1, 2), norm='ortho')
    np.testing.assert_allclose(np.reshape(latents, images.shape), expected, atol=1e-10)
    pixels = ConditionalRealNVP((8, 8, 1), 3, settings, latents='pixels', dtype=tf.float64)
    np.testing.assert_allclose(log_det, pixels.inverse_and_log_det(images, poses)[1], rtol=1e-12)
    np.testing.assert_allclose(flow.forward(latents, conditional_input=poses), images, atol=1e-10)


def test_unknown_order_of_latents_is_named():
    with pytest.raises(ValueError, match='`latents` must be one of flow, pixels, frequencies'):
        ConditionalRealNVP((8, 8, 1), 3, latents='wavelets')
