"""Kernels over poses against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.distributions import SLICE_KERNELS, pose_kernel, slice_kernel

FUNCTIONS = {
    'exponential': lambda distance: np.exp(-distance),
    'matern_three_halves': lambda distance: (1 + np.sqrt(3) * distance) * np.exp(-np.sqrt(3) * distance),
    'squared_exponential': lambda distance: np.exp(-(distance**2) / 2),
}


def halves(poses):
    """Features of poses, two of three numbers."""
    return 0.5 * poses[..., :2]


@pytest.mark.parametrize('family', SLICE_KERNELS)
def test_kernel_falls_off_with_the_distance_of_features(family):
    first, second = np.random.default_rng(0).normal(size=(2, 4, 3))
    distance = 0.5 * np.linalg.norm((first - second)[:, :2], axis=-1) / 1.5
    kernel = pose_kernel(np.float64(1.5), halves, family)
    np.testing.assert_allclose(kernel.apply(first, second), FUNCTIONS[family](distance), rtol=1e-10)


@pytest.mark.parametrize('family', SLICE_KERNELS)
def test_kernel_of_slice_numbers_is_that_of_slices(family):
    poses = np.eye(5)

    def number(poses):
        return tf.reduce_sum(poses * tf.range(5, dtype=poses.dtype), -1, keepdims=True)

    kernels = pose_kernel(np.float64(2.0), number, family), slice_kernel(np.float64(2.0), 5, family)
    np.testing.assert_allclose(*[kernel.apply(poses[:, None], poses) for kernel in kernels], rtol=1e-12)
