"""Statistics of the smooth fields, and the map from voxels to the reference anatomy."""

import numpy as np
import pytest

from tfp_bruno.phantoms import rendering


def test_smooth_field_has_unit_variance_and_gaussian_correlation():
    axes = [np.arange(0.0, 61.0, 15.0)] * 3
    rng = np.random.default_rng(0)
    samples = np.stack([rendering.smooth_field(axes, 15.0, rng) for _ in range(1500)])
    assert samples.dtype == np.float32
    assert samples.std() == pytest.approx(1.0, abs=0.03)
    for steps in (1, 2):
        correlation = (samples[:, steps:] * samples[:, :-steps]).mean()
        assert correlation == pytest.approx(np.exp(-0.5 * steps**2), abs=0.04)


def test_bent_coordinates_without_bending_are_affine():
    placement = rendering.Placement((2.0, 2.0, 2.0), (0.0, 0.0, np.pi / 2), (1.0, 0.0, 0.0), 0.0, 20.0)
    axes = [np.array([0.0, 3.0]), np.array([0.0]), np.array([5.0])]
    x, y, z = rendering.bent_coordinates(axes, placement, np.random.default_rng(0))
    # Shifted back by 1 mm, turned by 90 degrees about z, halved.
    np.testing.assert_allclose(np.stack([x, y, z]).reshape(3, 2), [[0.0, 0.0], [-0.5, 1.0], [2.5, 2.5]], atol=1e-6)


def test_voxel_axes_are_centred():
    x, _, z = rendering.voxel_axes((4, 3, 5))
    np.testing.assert_array_equal(x, [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_array_equal(z, [-2.0, -1.0, 0.0, 1.0, 2.0])
