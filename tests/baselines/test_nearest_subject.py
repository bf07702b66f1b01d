"""The nearest subject."""

import numpy as np
import pytest

from tfp_bruno.baselines import NearestSubject


@pytest.fixture
def train():
    return np.random.default_rng(0).random((8, 6, 5, 4)).astype(np.float32)


def test_finds_the_subject_behind_noisy_contexts(train):
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 2, 5, 4))
    chosen = [6, 0, 3]
    predicted = NearestSubject(train).predict(train[chosen][:, [4, 1]] + noise, [4, 1], [5, 0])
    np.testing.assert_array_equal(predicted, train[chosen][:, [5, 0]])


def test_looks_at_the_context_slices_alone(train):
    other = train[2].copy()
    other[3] = train[5, 3]
    assert np.array_equal(NearestSubject(train).predict(other[None, [3]], [3], range(6))[0], train[5])


def test_without_contexts_the_most_typical_subject(train):
    distances = [np.linalg.norm(stack.astype(float) - train.mean(axis=0)) for stack in train]
    predicted = NearestSubject(train).predict(np.zeros((2, 0, 5, 4)), [], range(6))
    np.testing.assert_array_equal(predicted, [train[np.argmin(distances)]] * 2)
