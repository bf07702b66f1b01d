"""The foreground is the largest part, without holes."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.reconstruction.foreground import foreground_mask


def test_the_largest_part_with_its_holes_filled():
    data = np.zeros((20, 20, 20))
    data[3:12, 3:12, 3:12] = 0.5
    expected = data > 0
    data[6:8, 6:8, 6:8] = 0
    data[15:18, 15:18, 15:18] = 1.0
    data[3, 3, 14] = 0.01
    np.testing.assert_array_equal(foreground_mask(data), expected)


def test_nothing_above_the_threshold():
    assert not foreground_mask(np.full((4, 4, 4), 0.02)).any()


@pytest.mark.parametrize('seed', range(5))
def test_holes_are_those_of_scipy(seed):
    # Anatomy with noise, so that there are holes of every size, some of them open to the border.
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(30, 34, 28)), 1.2)
    data = np.where(noise > -0.03, 0.5, 0.0)
    labels, _ = ndimage.label(data > 0.02)
    largest = labels == np.bincount(labels[labels > 0]).argmax()
    filled = ndimage.binary_fill_holes(largest)
    assert filled.sum() > largest.sum()
    np.testing.assert_array_equal(foreground_mask(data), filled)
