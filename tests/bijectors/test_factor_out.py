"""Half of the channels wait beside the inner bijector."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import FactorOut, InvertibleConvolution

MATRIX = np.random.default_rng(3).normal(size=(4, 4))


def test_only_the_first_half_goes_through_the_bijector():
    bijector = FactorOut((4, 4, 2), InvertibleConvolution((2, 2, 4), MATRIX, dtype=tf.float64), 3)
    y = np.random.default_rng(0).normal(size=(5, 4, 4, 2))
    first, second = (tf.nn.space_to_depth(y[..., index : index + 1], 2).numpy() for index in range(2))
    x, log_det = bijector.inverse_and_log_det(y, np.zeros((5, 3)))
    np.testing.assert_allclose(x, np.concatenate([first @ MATRIX, second], -1), atol=1e-12)
    np.testing.assert_allclose(log_det, np.full(5, 4 * np.linalg.slogdet(MATRIX)[1]), rtol=1e-12)


@pytest.mark.parametrize('shape', [(5, 4, 2), (4, 5, 2), (4, 4, 3)])
def test_odd_sizes(shape):
    with pytest.raises(ValueError, match='needs even sizes'):
        FactorOut(shape, InvertibleConvolution((2, 2, 4), MATRIX), 3)
