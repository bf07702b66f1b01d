"""Space to depth, written out."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import Squeeze


def test_blocks_of_pixels_become_channels():
    image = np.arange(4 * 6 * 2, dtype=np.float32).reshape(4, 6, 2)
    squeezed = Squeeze((4, 6, 2)).inverse(image).numpy()
    assert squeezed.shape == (2, 3, 8)
    for row in range(2):
        for column in range(3):
            block = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(squeezed[row, column], block.reshape(-1))


def test_other_factors():
    assert Squeeze((8, 8, 1), factor=4).inverse(tf.zeros([3, 8, 8, 1])).shape == (3, 2, 2, 16)


def test_sizes_that_cannot_be_divided():
    with pytest.raises(ValueError, match=r'\[6, 5, 1\] cannot be divided by the squeeze factor 2'):
        Squeeze((6, 5, 1))
