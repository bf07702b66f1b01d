"""Deformed neighbours: exact cases, and inputs without anatomy."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.baselines import DeformedComponents, DeformedNeighbours, NearestSubject, NeighbourPopulation
from tfp_bruno.baselines.deformed_neighbours import NEIGHBOURS

SHAPE = (20, 33, 30)
CONTEXTS = [5, 10, 14]
METHODS = [DeformedNeighbours, DeformedComponents]


def make_heads(count, seed=0):
    """Textured ellipsoids of different size, place and texture; those of one seed start with the same ones."""
    rng = np.random.default_rng(seed)
    heads = []
    for _ in range(count):
        place, size = (
            np.array([10, 16, 15]) + rng.normal(0, 1, 3),
            np.array([7, 11, 9.5]) * np.exp(rng.normal(0, 0.1, 3)),
        )
        u = [(axis - p) / s for axis, s, p in zip(np.ogrid[tuple(map(slice, SHAPE))], size, place, strict=True)]
        texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
        heads.append((sum(map(np.square, u)) < 1) * np.clip(0.5 + 0.15 * texture / texture.std(), 0.1, 1))
    return np.array(heads, np.float32)


@pytest.fixture(scope='module')
def train():
    return make_heads(12)


@pytest.fixture(scope='module')
def population(train):
    return NeighbourPopulation(train)


def error(predicted, truth):
    return np.mean(np.square(predicted - truth))


def test_identical_neighbours_are_not_deformed(train):
    population = NeighbourPopulation(np.repeat(train[:1], 3, axis=0))
    deformed = population.deform(train[0, CONTEXTS], np.array(CONTEXTS))
    assert deformed.shape == (3, *SHAPE)
    for each in deformed:
        assert error(each, train[0]) < 1e-4


@pytest.mark.parametrize('method', METHODS)
def test_a_scaled_and_shifted_training_subject_is_completed(train, population, method):
    moved = ndimage.affine_transform(train[3], [0.9, 1.1, 0.92], [1.8, -2.3, 1.9], order=1)
    nearest = NearestSubject(train).predict(moved[None, CONTEXTS], CONTEXTS, range(20))[0]
    population = NeighbourPopulation(train[3:4]) if method is DeformedNeighbours else population
    predicted = method(population).predict(moved[None, CONTEXTS], CONTEXTS, range(20))[0]
    assert error(predicted, moved) < 0.2 * error(nearest, moved)


def test_the_nearest_deformed_subject_is_the_scaled_and_shifted_one(train, population):
    moved = ndimage.affine_transform(train[3], [0.9, 1.1, 0.92], [1.8, -2.3, 1.9], order=1)
    first, *others = population.deform(moved[CONTEXTS], np.array(CONTEXTS))
    assert error(first, moved) < 0.2 * min(error(other, moved) for other in others)


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS)
def test_order_of_contexts_does_not_matter(population, method):
    unseen = make_heads(2, seed=7)
    expected = method(population).predict(unseen[:, CONTEXTS], CONTEXTS, [3, 12])
    again = method(NeighbourPopulation(make_heads(12))).predict(unseen[:, CONTEXTS[::-1]], CONTEXTS[::-1], [3, 12])
    np.testing.assert_array_equal(again, expected)
    assert expected.dtype == np.float32
    assert expected.min() >= 0
    assert expected.max() <= 1


def test_components_reproduce_the_contexts(population):
    unseen = make_heads(1, seed=7)
    average, components = (
        method(population).predict(unseen[:, CONTEXTS], CONTEXTS, CONTEXTS)
        for method in (DeformedNeighbours, DeformedComponents)
    )
    assert error(components, unseen[:, CONTEXTS]) < 0.05 * error(average, unseen[:, CONTEXTS])


@pytest.mark.parametrize('method', METHODS)
def test_without_contexts_it_is_the_training_mean(train, population, method):
    predicted = method(population).predict(np.zeros((2, 0, 33, 30)), [], [3, 0])
    np.testing.assert_allclose(predicted, [train.mean(axis=0)[[3, 0]]] * 2, atol=1e-6)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('contexts', [[9], [2, 17]], ids=str)
def test_black_contexts_give_finite_results(population, method, contexts):
    predicted = method(population).predict(np.zeros((1, len(contexts), 33, 30)), contexts, range(20))
    assert predicted.shape == (1, *SHAPE)
    assert np.all(np.isfinite(predicted))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('subjects', [1, 2])
@pytest.mark.parametrize('shape', [(1, 9, 12), (7, 16, 5)])
def test_few_subjects_and_small_stacks_give_finite_results(method, subjects, shape):
    train = np.random.default_rng(0).random((subjects, *shape)).astype(np.float32)
    predicted = method(NeighbourPopulation(train)).predict(1 - train[:, [0]], [0], range(shape[0]))
    assert predicted.shape == train.shape
    assert np.all(np.isfinite(predicted))


def test_no_more_than_the_nearest_are_kept(train):
    many = np.repeat(train[:, ::4, ::4, ::4], NEIGHBOURS // len(train) + 1, axis=0)
    assert len(NeighbourPopulation(many).deform(many[0, [2]], np.array([2]))) == NEIGHBOURS


def test_no_subjects_name_the_argument():
    with pytest.raises(ValueError, match='`train_images`'):
        NeighbourPopulation(np.zeros((0, 2, 3, 4)))
