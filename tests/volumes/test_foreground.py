"""The foreground is the largest part, without holes."""

import numpy as np

from tfp_bruno.volumes.foreground import foreground_mask


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
