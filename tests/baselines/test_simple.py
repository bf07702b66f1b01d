"""Training mean, nearest subject, and linear interpolation against SciPy."""

import numpy as np
import pytest
from scipy import interpolate

from tfp_bruno.baselines import LinearInterpolation, NearestSubject, TrainingMean


@pytest.fixture
def train():
    return np.random.default_rng(0).random((8, 20, 5, 4)).astype(np.float32)


def test_training_mean_predicts_the_mean_at_the_queries(train):
    predicted = TrainingMean(train).predict(train[:2, [1]], [1], [4, 0])
    assert predicted.shape == (2, 2, 5, 4)
    assert predicted.dtype == np.float32
    expected = [sum(stack[k].astype(float) for stack in train) / 8 for k in (4, 0)]
    np.testing.assert_allclose(predicted, [expected, expected], rtol=1e-6)


def test_nearest_subject_is_found_from_noisy_contexts(train):
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 2, 5, 4))
    chosen = [6, 0, 3]
    predicted = NearestSubject(train).predict(train[chosen][:, [4, 1]] + noise, [4, 1], [5, 0])
    np.testing.assert_array_equal(predicted, train[chosen][:, [5, 0]])


def test_nearest_subject_depends_on_context_slices_only(train):
    other = train[2].copy()
    other[3] = train[5, 3]
    assert np.array_equal(NearestSubject(train).predict(other[None, [3]], [3], range(20))[0], train[5])


def test_nearest_subject_without_contexts_is_nearest_to_the_mean(train):
    distances = [np.linalg.norm(stack.astype(float) - train.mean(axis=0)) for stack in train]
    predicted = NearestSubject(train).predict(np.zeros((2, 0, 5, 4)), [], range(20))
    np.testing.assert_array_equal(predicted, [train[np.argmin(distances)]] * 2)


@pytest.mark.parametrize('contexts', [[3, 9, 17], [17, 3, 9], [0, 19]])
def test_linear_interpolation_matches_scipy(train, contexts):
    predicted = LinearInterpolation(train).predict(train[:, contexts], contexts, range(20))
    ascending = sorted(contexts)
    reference = interpolate.interp1d(ascending, train[:, ascending], axis=1)
    np.testing.assert_allclose(predicted, reference(np.clip(range(20), ascending[0], ascending[-1])), atol=1e-6)


def test_linear_interpolation_returns_contexts_exactly(train):
    np.testing.assert_array_equal(
        LinearInterpolation(train).predict(train[:, [12, 2]], [12, 2], [2, 12]), train[:, [2, 12]]
    )


def test_linear_interpolation_repeats_a_single_context(train):
    predicted = LinearInterpolation(train).predict(train[:, [8]], [8], range(20))
    np.testing.assert_array_equal(predicted, np.repeat(train[:, [8]], 20, axis=1))


def test_linear_interpolation_without_contexts_is_the_training_mean(train):
    nothing = np.zeros((2, 0, 5, 4))
    expected = TrainingMean(train).predict(nothing, [], [3, 4])
    np.testing.assert_array_equal(LinearInterpolation(train).predict(nothing, [], [3, 4]), expected)
