"""Components against scikit-learn, interpolation against SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.decomposition import PCA

from tfp_bruno.registration import CanonicalModel, interpolation


def test_fit_matches_principal_components(space, population):
    model = CanonicalModel.fit(space, population, 5)
    reference = PCA(5, svd_solver='full').fit(population.reshape(len(population), -1))
    np.testing.assert_allclose(model.mean.ravel(), reference.mean_, atol=1e-6)
    assert model.rank == 5
    loadings = model.loadings.reshape(-1, 5).T
    expected = reference.components_ * np.sqrt(reference.explained_variance_)[:, None]
    signs = np.sign((loadings * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(loadings * signs, expected, atol=1e-4)


def test_all_components_reproduce_the_volumes(space, population):
    model = CanonicalModel.fit(space, population[:4], 99)
    assert model.rank == 3
    loadings = model.loadings.reshape(-1, 3)
    for volume in population[:4]:
        scores = np.linalg.lstsq(loadings, (volume - model.mean).ravel(), rcond=None)[0]
        np.testing.assert_allclose(model.volume(scores), volume, atol=1e-4)


@pytest.mark.parametrize('copies', [1, 2, 3])
def test_equal_volumes_have_no_components(space, population, copies):
    model = CanonicalModel.fit(space, np.repeat(population[:1], copies, 0), 5)
    assert model.rank < copies
    # Rounding errors of the mean.
    np.testing.assert_allclose(model.loadings, 0, atol=1e-6)
    np.testing.assert_allclose(model.volume(np.ones(model.rank)), population[0], atol=1e-5)


def test_volume_takes_the_first_components(space, population):
    model = CanonicalModel.fit(space, population, 4)
    expected = model.mean + 2 * model.loadings[..., 0] - 3 * model.loadings[..., 1]
    np.testing.assert_allclose(model.volume(np.array([2.0, -3.0])), expected, atol=1e-6)


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    points=st.lists(st.tuples(*[st.floats(-3, 8)] * 3), min_size=1, max_size=6),
)
def test_interpolation_matches_scipy(shape, points):
    volume = np.random.default_rng(0).normal(size=shape)
    points = np.array(points).T
    matrix = interpolation(points, shape)
    expected = ndimage.map_coordinates(volume, points, order=1, mode='nearest')
    np.testing.assert_allclose(matrix @ volume.ravel(), expected, atol=1e-5)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    assert matrix.shape == (points.shape[1], volume.size)
    # The order of the points is that of their axes.
    grid = np.broadcast_to(points[:, None, :], (3, 2, points.shape[1]))
    np.testing.assert_array_equal(interpolation(grid, shape).toarray(), np.tile(matrix.toarray(), (2, 1)))
