"""Amplitudes of spatial frequencies, against SciPy."""

import numpy as np
import scipy.fft
import tensorflow as tf

from tfp_bruno.bijectors import CosineTransform

IMAGES = np.random.default_rng(0).normal(size=(3, 6, 4, 2)).astype(np.float32)


def test_it_is_scipys_transform_of_every_channel():
    amplitudes = CosineTransform((6, 4, 2)).inverse(IMAGES).numpy()
    expected = scipy.fft.dctn(IMAGES, axes=(1, 2), norm='ortho')
    np.testing.assert_allclose(amplitudes, expected, atol=1e-5)


def test_it_is_a_rotation():
    bijector = CosineTransform((6, 4, 2), dtype=tf.float64)
    images, log_det = bijector.forward_and_log_det(IMAGES.astype(np.float64))
    np.testing.assert_allclose(tf.reduce_sum(images**2), np.sum(IMAGES.astype(np.float64) ** 2), rtol=1e-12)
    np.testing.assert_array_equal(log_det, np.zeros(3))
