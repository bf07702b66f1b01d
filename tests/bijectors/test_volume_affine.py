"""The affine map that is sampled from volumes, against SciPy and the map of one-hot poses."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfp_bruno.bijectors import ConditionalAffine, ConditionalVolumeAffine
from tfp_bruno.networks import AffineGrid, PlaneGrid

RNG = np.random.default_rng(0)
LOC, SCALE = RNG.normal(size=(3, 4, 5, 2)), RNG.uniform(0.5, 2.0, size=(3, 4, 5, 2))


def test_map_at_planes_is_that_of_one_hot_poses():
    volume = ConditionalVolumeAffine((4, 5, 2), PlaneGrid(3, (4, 5)), 3, dtype=tf.float64)
    volume.initialize(LOC, SCALE)
    table = ConditionalAffine((4, 5, 2), 3, dtype=tf.float64)
    table.initialize(LOC, SCALE, np.eye(3), ridge=0.0)
    x = RNG.normal(size=(3, 4, 5, 2))
    for result, expected in zip(
        volume.forward_and_log_det(x, np.eye(3)), table.forward_and_log_det(x, np.eye(3)), strict=True
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_shift_and_log_scale_are_interpolated():
    grid = AffineGrid((4, 5), (-0.5, 0.5))
    bijector = ConditionalVolumeAffine((4, 5, 2), grid, 3, dtype=tf.float64)
    bijector.initialize(LOC, SCALE)
    pose, x = RNG.normal(size=12), RNG.normal(size=(4, 5, 2))
    points = np.moveaxis(grid(tf.constant(pose)).numpy(), -1, 0)

    def sample(volume):
        channels = [
            ndimage.map_coordinates(each, points, order=1, mode='nearest') for each in np.moveaxis(volume, 3, 0)
        ]
        return np.stack(channels, -1).mean(0)

    log_scale = sample(np.log(SCALE))
    y, log_det = bijector.forward_and_log_det(x, pose)
    np.testing.assert_allclose(y, sample(LOC) + np.exp(log_scale) * x, rtol=1e-10)
    np.testing.assert_allclose(log_det, log_scale.sum(), rtol=1e-10)


def test_wrong_sizes_raise_an_error_of_one_line():
    with pytest.raises(ValueError, match=r'`event_shape` is \[4, 6, 2\], but `grid` is that of images of \[4, 5\]'):
        ConditionalVolumeAffine((4, 6, 2), AffineGrid((4, 5)), 3)
    bijector = ConditionalVolumeAffine((4, 5, 2), AffineGrid((4, 5)), 3)
    with pytest.raises(ValueError, match=r'`scale` has shape \(2, 4, 5, 2\), not \(3, 4, 5, 2\)'):
        bijector.initialize(LOC, SCALE[:2])
