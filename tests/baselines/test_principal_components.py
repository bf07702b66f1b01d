"""Conditional Gaussians of components, against the dense Gaussian and scikit-learn's kriging."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from tfp_bruno.baselines import ComponentPopulation, KrigedComponents, PrincipalComponents
from tfp_bruno.baselines.components import Components, kriging_weights
from tfp_bruno.baselines.principal_components import NOISES, RANKS

SHAPE = (6, 5, 4)


@pytest.fixture(scope='module')
def train():
    """Subjects made of four patterns and a little noise."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(4, *SHAPE))
    images = 0.5 + 0.08 * np.tensordot(rng.normal(size=(60, 4)), patterns, 1) + 0.01 * rng.normal(size=(60, *SHAPE))
    return np.clip(images, 0, 1).astype(np.float32)


@pytest.fixture(scope='module')
def population(train):
    return ComponentPopulation(train)


def test_scores_match_the_dense_gaussian(train):
    components = Components.fit(train)
    loadings = components.loadings[:7].reshape(7, 6, -1).astype(float)
    contexts, query, noise = [4, 1], [0, 5], 0.3
    seen = loadings[:, contexts].reshape(7, -1)
    errors = np.random.default_rng(1).normal(size=(3, 2, 5, 4))
    covariance = seen.T @ seen + noise**2 * np.eye(40)
    expected = errors.reshape(3, -1) @ np.linalg.solve(covariance, seen.T @ loadings[:, query].reshape(7, -1))
    predicted = components.combine(components.scores(errors, contexts, 7, noise), query)
    np.testing.assert_allclose(predicted.reshape(3, -1), expected, atol=1e-6)


def test_components_match_scikit_learn(train):
    components = Components.fit(train)
    pca = PCA().fit(train.reshape(60, -1).astype(float))
    covariance = np.tensordot(components.loadings[:4], components.loadings[:4], ([0], [0])).reshape(120, 120)
    expected = (pca.components_[:4].T * pca.explained_variance_[:4]) @ pca.components_[:4]
    np.testing.assert_allclose(covariance, expected, atol=1e-6)


def test_kriging_weights_match_gaussian_process_regression():
    contexts, query = np.array([10, 30, 45]), np.arange(50)
    values = np.random.default_rng(0).normal(size=(3, 2))
    process = GaussianProcessRegressor(Matern(8.0, nu=0.5), alpha=0.02, optimizer=None)
    expected = process.fit(contexts[:, None], values).predict(query[:, None])
    np.testing.assert_allclose(kriging_weights(contexts, query, 8.0) @ values, expected, atol=1e-9)


@pytest.mark.parametrize('method', [PrincipalComponents, KrigedComponents])
def test_predict_completes_unseen_subjects(train, population, method):
    rng = np.random.default_rng(5)
    patterns = np.random.default_rng(0).normal(size=(4, *SHAPE))
    unseen = np.clip(0.5 + 0.08 * np.tensordot(rng.normal(size=(10, 4)), patterns, 1), 0, 1)
    predicted = method(population).predict(unseen[:, [1, 3]], [1, 3], range(6))
    assert predicted.dtype == np.float32
    error = np.mean((predicted - unseen)[:, [0, 2, 4, 5]] ** 2)
    assert error < 0.02 * np.mean((train.mean(0) - unseen)[:, [0, 2, 4, 5]] ** 2)


def test_kriging_adds_the_residual_of_the_contexts():
    # Two equal subjects have no components; slices near a context follow it.
    train = np.full((2, 20, 5, 4), 0.5, np.float32)
    context = np.full((1, 1, 5, 4), 0.9, np.float32)
    near = KrigedComponents(ComponentPopulation(train)).predict(context, [10], [10, 11, 19])[0, :, 0, 0]
    assert near[0] > 0.88
    assert near[0] > near[1] > near[2] > 0.5


@pytest.mark.parametrize('method', [PrincipalComponents, KrigedComponents])
@pytest.mark.parametrize('subjects', [1, 2, 3, 60])
def test_predict_without_contexts_is_the_training_mean(train, method, subjects):
    few = train[:subjects]
    predicted = method(ComponentPopulation(few)).predict(np.zeros((2, 0, 5, 4)), [], [3, 0])
    np.testing.assert_allclose(predicted, [few.mean(0)[[3, 0]]] * 2, atol=1e-6)
    assert np.all(np.isfinite(method(ComponentPopulation(few)).predict(train[:1, [2]], [2], range(6))))


def test_bad_input_names_the_argument(population):
    with pytest.raises(ValueError, match=r'`context_images`: must be \[S, 1, 5, 4\]'):
        PrincipalComponents(population).predict(np.zeros((1, 2, 5, 4)), [0], [1])
    with pytest.raises(ValueError, match='`context_slices`: must be slice numbers from 0 to 5'):
        KrigedComponents(population).predict(np.zeros((1, 1, 5, 4)), [6], [1])
    with pytest.raises(ValueError, match='`train_images`'):
        ComponentPopulation(np.zeros((3, 4)))


@pytest.mark.parametrize('method', [PrincipalComponents, KrigedComponents])
@pytest.mark.parametrize('contexts', [[2], [0, 3, 5]], ids=str)
def test_choose_finds_the_least_error_on_held_out_subjects(train, method, contexts):
    # One by one: each setting completes the held-out subjects with the components of the others.
    held_out = np.arange(len(train)) % 5 == 0
    components, query = Components.fit(train[~held_out]), np.setdiff1d([0, 2, 4], contexts)
    model = method(ComponentPopulation(train))
    unseen = train[held_out] - components.mean
    errors = {}
    for rank in sorted({min(rank, 47) for rank in RANKS}):
        for noise in NOISES:
            for length in model._lengths:
                seen = unseen[:, contexts]
                scores = components.scores(seen, contexts, rank, noise)
                predicted = components.combine(scores, query)
                if length is not None:
                    left = seen - components.combine(scores, contexts)
                    predicted += np.einsum('qn,snhw->sqhw', kriging_weights(contexts, query, length), left)
                errors[rank, noise, length] = np.mean((predicted - unseen[:, query]) ** 2)
    assert ComponentPopulation(train).choose(np.array(contexts), model._lengths) == min(errors, key=errors.get)
