"""The completed stack is that of the model with the contexts unchanged, and slices have scores."""

import numpy as np
import pytest

from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import Contexts, complete
from tfp_bruno.reconstruction.completion import score_slices


@pytest.mark.slow
def test_complete_keeps_the_contexts_and_takes_the_rest_from_the_model(model, ellipsoid):
    contexts = np.random.default_rng(0).uniform(0, 1, (2, 64, 64)).astype(np.float32)
    completion = complete(model, contexts, (20, 60), num_samples=3, seed=1)
    images, slices = model.calls[0]
    assert images.shape == (1, 2, 64, 64)
    assert slices == (20, 60)
    np.testing.assert_array_equal(completion.mean[[20, 60]], contexts)
    np.testing.assert_array_equal(np.delete(completion.mean, [20, 60], 0), np.delete(ellipsoid, [20, 60], 0))
    assert completion.samples.shape == (3, 80, 64, 64)
    for sample in completion.samples:
        np.testing.assert_array_equal(sample[[20, 60]], contexts)
    assert not completion.std[[20, 60]].any()


@pytest.mark.slow
def test_complete_std_uses_the_least_number_of_samples(make_model, ellipsoid):
    model = make_model(ellipsoid * 0.6, noise=0.05)
    completion = complete(model, np.zeros((0, 64, 64)), (), num_samples=0, seed=1, min_samples_for_std=100)
    assert completion.samples.shape == (0, 80, 64, 64)
    assert completion.std_samples == 100
    bright = ellipsoid > 0.7
    np.testing.assert_allclose(completion.std[bright].mean(), 0.05, rtol=0.05)


def test_complete_without_samples_has_no_std(model):
    completion = complete(model, np.zeros((0, 64, 64)), (), num_samples=0, seed=1, min_samples_for_std=0)
    assert completion.std is None
    assert completion.interval is None
    assert completion.samples.shape == (0, 80, 64, 64)


@pytest.mark.slow
def test_complete_interval_is_that_of_the_samples(make_model, ellipsoid):
    model = make_model(ellipsoid * 0.6, noise=0.05)
    contexts = ellipsoid[[40]]
    completion = complete(model, contexts, (40,), 0, 1, min_samples_for_std=0, with_interval=True)
    assert completion.std_samples == 100
    lower, upper = completion.interval
    bright = ellipsoid > 0.7
    bright[40] = False
    # Of a normal distribution: 1.96 standard deviations on both sides.
    np.testing.assert_allclose((upper - lower)[bright].mean(), 2 * 1.96 * 0.05, rtol=0.1)
    np.testing.assert_array_equal(completion.interval[:, 40], [contexts[0], contexts[0]])
    assert completion.interval.dtype == np.float32


@pytest.mark.slow
def test_complete_samples_depend_on_the_seed_alone(model):
    first, again, other = (complete(model, np.zeros((0, 64, 64)), (), 2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_complete_refuses_values_that_are_not_finite(make_model, ellipsoid):
    with pytest.raises(UserError, match='fake: the model returns values that are not finite'):
        complete(make_model(np.where(ellipsoid > 0, np.nan, 0)), np.zeros((0, 64, 64)), (), 0, 0)


def test_score_slices_scores_each_context_given_the_others(ellipsoid, fake_scores):
    contexts = Contexts((10, 20, 40), ellipsoid[[10, 20, 40]], np.eye(4))
    scores = score_slices(fake_scores, contexts)
    assert scores.positions == (10, 20, 40)
    assert scores.is_context.all()
    np.testing.assert_allclose(scores.bits, [1, 2, 4])
    np.testing.assert_allclose(scores.anomaly, [-2, -2, -2])
