"""Slice numbers as one-hot vectors."""

import numpy as np
import pytest

from tfp_bruno.data.poses import one_hot_poses


def test_one_hot():
    poses = one_hot_poses([[2, 0], [3, 3]], 4)
    assert poses.dtype == np.float32
    np.testing.assert_array_equal(poses, [[[0, 0, 1, 0], [1, 0, 0, 0]], [[0, 0, 0, 1], [0, 0, 0, 1]]])


def test_no_slices():
    assert one_hot_poses([], 80).shape == (0, 80)


@pytest.mark.parametrize('slices', [[-1], [0, 4]])
def test_a_slice_that_is_not_there(slices):
    with pytest.raises(ValueError, match=r'slice numbers must be in \[0, 4\)'):
        one_hot_poses(slices, 4)
