"""Values and slopes of averaged volumes, against SciPy and finite differences."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.registration import AppearanceFields, CanonicalModel


@pytest.fixture(scope='module')
def model(space, blobs):
    return CanonicalModel(space, blobs, np.random.default_rng(0).normal(size=(*blobs.shape, 2)).astype(np.float32))


@pytest.mark.parametrize('block', [1, 2])
def test_values_are_those_of_averaged_volumes(model, block):
    points = np.random.default_rng(1).uniform(1, 14, (3, 30))
    fields = AppearanceFields.of(model, block)
    values, slopes = fields.at(points)
    assert fields.rank == 2
    np.testing.assert_array_equal(values, fields.values_at(points))
    for ours, volume in zip(values, [model.mean, *np.moveaxis(model.loadings, -1, 0)], strict=True):
        means = ndimage.uniform_filter(volume, (0, block, block) if block > 1 else 1)
        np.testing.assert_allclose(ours, ndimage.map_coordinates(means, points, order=1), atol=1e-5)
    assert slopes.shape == (3, 3, 30)


def test_slopes_are_central_differences_in_millimetres(model):
    voxels = np.random.default_rng(2).integers(2, 13, (3, 30))
    _, slopes = AppearanceFields.of(model, 1).at(voxels.astype(float))
    for axis, side in enumerate(model.space.basis.voxel_size):
        step = np.eye(3, dtype=int)[:, axis : axis + 1]
        volume = model.loadings[..., 1]
        expected = (volume[tuple(voxels + step)] - volume[tuple(voxels - step)]) / (2 * side)
        np.testing.assert_allclose(slopes[axis, 2], expected, atol=1e-5)


def test_a_volume_of_one_plane_has_no_slope_across_it(model):
    flat = CanonicalModel(model.space, model.mean[:1], model.loadings[:1])
    _, slopes = AppearanceFields.of(flat, 1).at(np.array([[0.0], [5.0], [5.0]]))
    assert not slopes[0].any()


def test_all_is_zero_where_nothing_is_occupied(space):
    volume = np.zeros((12, 16, 16), np.float32)
    volume[5, 6:9, 7] = 1.0
    points = np.random.default_rng(3).uniform(-2, 18, (3, 4000))
    fields = AppearanceFields.of(CanonicalModel(space, volume, volume[..., None]), 2)
    occupied = fields.occupied_at(points)
    values, slopes = fields.at(points)
    assert 0 < occupied.sum() < 400
    assert np.any(values[:, occupied])
    assert not np.any(values[:, ~occupied])
    assert not np.any(slopes[..., ~occupied])
    np.testing.assert_array_equal(fields.values_at(points), values)
