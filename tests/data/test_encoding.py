"""Intensities within 256 grey levels, and slice numbers as one-hot vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.data.encoding import (
    LEVELS,
    dequantise,
    from_level_middle,
    from_uint16,
    one_hot_poses,
    to_level_middle,
    to_uint16,
)


def test_to_level_middle_is_the_middle_of_each_of_256_levels():
    values = np.arange(256) / 255
    np.testing.assert_allclose(to_level_middle(values), (np.arange(256) + 0.5) / 256, atol=1e-12)
    assert LEVELS == 256


@given(st.floats(0, 1))
def test_from_level_middle_inverts_to_level_middle(value):
    inside = to_level_middle(value)
    assert 0 < inside < 1
    np.testing.assert_allclose(from_level_middle(inside), value, atol=1e-12)


def test_dequantise_adds_noise_within_the_level():
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16)) / 255
    noisy = dequantise(images, 1)
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(np.floor(noisy * 256), np.round(images * 255))
    assert noisy.max() < 1
    np.testing.assert_array_equal(noisy, dequantise(images, 1))


def test_from_uint16_inverts_to_uint16_within_half_a_level():
    images = np.random.default_rng(0).uniform(size=1000).astype(np.float32)
    levels = to_uint16(images)
    assert levels.dtype == np.uint16
    assert from_uint16(levels).dtype == np.float32
    np.testing.assert_allclose(from_uint16(levels), images, atol=1e-5)
    np.testing.assert_array_equal(to_uint16(from_uint16(levels)), levels)


def test_one_hot_poses_matches_a_worked_example():
    poses = one_hot_poses([[2, 0], [3, 3]], 4)
    assert poses.dtype == np.float32
    np.testing.assert_array_equal(poses, [[[0, 0, 1, 0], [1, 0, 0, 0]], [[0, 0, 0, 1], [0, 0, 0, 1]]])


def test_one_hot_poses_of_no_slices_is_empty():
    assert one_hot_poses([], 80).shape == (0, 80)


@pytest.mark.parametrize('slices', [[-1], [0, 4]])
def test_one_hot_poses_refuses_slices_out_of_range(slices):
    with pytest.raises(ValueError, match=r'slice numbers must be in \[0, 4\)'):
        one_hot_poses(slices, 4)
