"""Grey levels: 256 cells of equal width, intensities in their middles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.data.grey_levels import LEVELS, from_level_middle, to_level_middle


def test_every_grey_value_is_in_the_middle_of_its_cell():
    values = np.arange(256) / 255
    np.testing.assert_allclose(to_level_middle(values), (np.arange(256) + 0.5) / 256, atol=1e-12)
    assert LEVELS == 256


@given(st.floats(0, 1))
def test_there_and_back(value):
    inside = to_level_middle(value)
    assert 0 < inside < 1
    np.testing.assert_allclose(from_level_middle(inside), value, atol=1e-12)
