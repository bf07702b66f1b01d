"""Grey levels: 256 cells of equal width, intensities in their middles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.data.encoding import LEVELS, from_level_middle, one_hot_poses, to_level_middle


def test_every_grey_value_is_in_the_middle_of_its_cell():
    values = np.arange(256) / 255
    np.testing.assert_allclose(to_level_middle(values), (np.arange(256) + 0.5) / 256, atol=1e-12)
    assert LEVELS == 256


@given(st.floats(0, 1))
def test_there_and_back(value):
    inside = to_level_middle(value)
    assert 0 < inside < 1
    np.testing.assert_allclose(from_level_middle(inside), value, atol=1e-12)


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
