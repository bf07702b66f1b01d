"""Linear interpolation against SciPy."""

import numpy as np
import pytest
from scipy import interpolate

from tfp_bruno.baselines import LinearInterpolation, TrainingMean


@pytest.fixture
def stacks():
    return np.random.default_rng(0).random((3, 20, 5, 4)).astype(np.float32)


@pytest.mark.parametrize('contexts', [[3, 9, 17], [17, 3, 9], [0, 19]])
def test_equals_scipy(stacks, contexts):
    predicted = LinearInterpolation(stacks).predict(stacks[:, contexts], contexts, range(20))
    ascending = sorted(contexts)
    reference = interpolate.interp1d(ascending, stacks[:, ascending], axis=1)
    np.testing.assert_allclose(predicted, reference(np.clip(range(20), ascending[0], ascending[-1])), atol=1e-6)


def test_returns_contexts_exactly(stacks):
    np.testing.assert_array_equal(
        LinearInterpolation(stacks).predict(stacks[:, [12, 2]], [12, 2], [2, 12]), stacks[:, [2, 12]]
    )


def test_one_context_is_copied_everywhere(stacks):
    predicted = LinearInterpolation(stacks).predict(stacks[:, [8]], [8], range(20))
    np.testing.assert_array_equal(predicted, np.repeat(stacks[:, [8]], 20, axis=1))


def test_without_contexts_the_training_mean(stacks):
    nothing = np.zeros((2, 0, 5, 4))
    expected = TrainingMean(stacks).predict(nothing, [], [3, 4])
    np.testing.assert_array_equal(LinearInterpolation(stacks).predict(nothing, [], [3, 4]), expected)
