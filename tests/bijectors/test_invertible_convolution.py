"""The 1 x 1 convolution against NumPy's matrix and determinant."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import InvertibleConvolution

MATRIX = np.random.default_rng(3).normal(size=(4, 4))


def test_invertible_convolution_multiplies_by_the_matrix():
    bijector = InvertibleConvolution((2, 3, 4), MATRIX, dtype=tf.float64)
    image = np.random.default_rng(0).normal(size=(5, 2, 3, 4))
    np.testing.assert_allclose(bijector.inverse(image), image @ MATRIX, atol=1e-12)
    np.testing.assert_allclose(bijector.forward(image), image @ np.linalg.inv(MATRIX), atol=1e-10)
    expected = 6 * np.linalg.slogdet(MATRIX)[1]
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(image), np.full(5, expected), rtol=1e-12)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(image), np.full(5, -expected), rtol=1e-12)


def test_log_det_of_a_trained_matrix_matches_numpy():
    bijector = InvertibleConvolution((1, 1, 4), MATRIX, dtype=tf.float64)
    for variable in bijector.trainable_variables:
        variable.assign_add(np.random.default_rng(1).normal(size=variable.shape))
    # The inverse of each unit vector is a row of the matrix.
    matrix = bijector.inverse(np.eye(4).reshape(4, 1, 1, 4)).numpy().reshape(4, 4)
    log_det = bijector.inverse_log_det_jacobian(np.zeros((1, 1, 4)))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrix)[1], atol=1e-10)


def test_bad_matrices_are_errors():
    with pytest.raises(ValueError, match=r'`initial_matrix` has shape \(4, 4\).*needs \(3, 3\)'):
        InvertibleConvolution((2, 2, 3), MATRIX)
    with pytest.raises(ValueError, match='singular'):
        InvertibleConvolution((2, 2, 4), np.ones((4, 4)))
