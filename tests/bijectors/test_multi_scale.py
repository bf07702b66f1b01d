"""Squeezing written out, and factoring out half of the channels."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalChain, FactorOut, InvertibleConvolution, Squeeze

MATRIX = np.random.default_rng(3).normal(size=(4, 4))


def test_squeeze_moves_blocks_of_pixels_to_channels():
    image = np.arange(4 * 6 * 2, dtype=np.float32).reshape(4, 6, 2)
    squeezed = Squeeze((4, 6, 2)).inverse(image).numpy()
    assert squeezed.shape == (2, 3, 8)
    for row in range(2):
        for column in range(3):
            block = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(squeezed[row, column], block.reshape(-1))


def test_squeeze_by_another_factor():
    assert Squeeze((8, 8, 1), factor=4).inverse(tf.zeros([3, 8, 8, 1])).shape == (3, 2, 2, 16)


def test_squeeze_rejects_sizes_that_are_not_divisible():
    with pytest.raises(ValueError, match=r'\[6, 5, 1\] cannot be divided by the squeeze factor 2'):
        Squeeze((6, 5, 1))


def test_factor_out_transforms_only_the_first_half():
    parts = [Squeeze((4, 4, 1), dtype=tf.float64), InvertibleConvolution((2, 2, 4), MATRIX, dtype=tf.float64)]
    bijector = FactorOut((4, 4, 2), ConditionalChain(parts), 3)
    y = np.random.default_rng(0).normal(size=(5, 4, 4, 2))
    first, second = (tf.nn.space_to_depth(y[..., index : index + 1], 2).numpy() for index in range(2))
    x, log_det = bijector.inverse_and_log_det(y, np.zeros((5, 3)))
    np.testing.assert_allclose(x, np.concatenate([first @ MATRIX, second], -1), atol=1e-12)
    np.testing.assert_allclose(log_det, np.full(5, 4 * np.linalg.slogdet(MATRIX)[1]), rtol=1e-12)


def test_factor_out_with_a_bijector_that_keeps_the_resolution():
    bijector = FactorOut((3, 5, 8), InvertibleConvolution((3, 5, 4), MATRIX, dtype=tf.float64), 3)
    y = np.random.default_rng(0).normal(size=(2, 3, 5, 8))
    x, _ = bijector.inverse_and_log_det(y, np.zeros((2, 3)))
    np.testing.assert_allclose(x, np.concatenate([y[..., :4] @ MATRIX, y[..., 4:]], -1), atol=1e-12)


@pytest.mark.parametrize(
    ('shape', 'message'), [((2, 2, 7), 'even number of channels'), ((4, 4, 8), r'\[4, 4, 4\], but invertible_conv')]
)
def test_factor_out_rejects_shapes_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        FactorOut(shape, InvertibleConvolution((2, 2, 4), MATRIX), 3)
