"""The training mean."""

import numpy as np

from tfp_bruno.baselines import TrainingMean


def test_predicts_the_mean_at_the_queries():
    train = np.random.default_rng(0).random((7, 6, 5, 4)).astype(np.float32)
    predicted = TrainingMean(train).predict(train[:2, [1]], [1], [4, 0])
    assert predicted.shape == (2, 2, 5, 4)
    assert predicted.dtype == np.float32
    expected = [sum(stack[k].astype(float) for stack in train) / 7 for k in (4, 0)]
    np.testing.assert_allclose(predicted, [expected, expected], rtol=1e-6)
