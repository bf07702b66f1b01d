"""Scores of slices match the model's density, slice by slice."""

import types

import numpy as np
import pytest

from tfp_bruno.data.encoding import dequantise, one_hot_poses
from tfp_bruno.runs import load, make_scorer


@pytest.fixture(scope='module', params=['factor', 'exchangeable'])
def loaded(request, make_run, make_weights):
    run = make_run(request.param)
    return types.SimpleNamespace(images=make_weights(run), model=load(run.folder))


@pytest.mark.slow
def test_scores_without_contexts_match_log_prob_of_each_slice(loaded):
    images, slices = loaded.images[0, [2, 7]], [2, 7]
    bits, anomaly = make_scorer(loaded.model)(images, slices, images[:0], [])
    np.testing.assert_allclose(anomaly, 0, atol=1e-3)
    noisy = dequantise(images, (0, 0))
    for image, position, expected in zip(noisy, slices, bits, strict=True):
        nats = loaded.model.log_prob(image[None, None], [position])[0]
        assert expected == pytest.approx(8 - nats / (image.size * np.log(2)), rel=1e-4)


@pytest.mark.slow
def test_scores_given_contexts_match_joint_over_marginal(loaded):
    images, slices = loaded.images[0, [3]], [3]
    contexts, positions = loaded.images[0, [1, 9]], [1, 9]
    bits, anomaly = make_scorer(loaded.model)(images, slices, contexts, positions)
    noisy, given = dequantise(images, (0, 0)), dequantise(contexts, (0, 1))
    joint = loaded.model.log_prob(np.concatenate([given, noisy])[None], [1, 9, 3])[0]
    nats = joint - loaded.model.log_prob(given[None], [1, 9])[0]
    assert bits[0] == pytest.approx(8 - nats / (images[0].size * np.log(2)), rel=1e-3)
    assert anomaly[0] == pytest.approx(nats - loaded.model.log_prob(noisy[None], [3])[0], abs=0.5)
    reference = loaded.model.bruno.anomaly_score(
        noisy[..., None], one_hot_poses(slices, 12), given[..., None], one_hot_poses(positions, 12)
    )
    np.testing.assert_allclose(anomaly, reference, rtol=1e-4)


@pytest.mark.slow
def test_slice_of_another_subject_is_anomalous(loaded):
    brightness = loaded.images.mean((1, 2, 3))
    dark, bright = loaded.images[brightness.argmin()], loaded.images[brightness.argmax()]
    scorer = make_scorer(loaded.model)
    _, own = scorer(dark[[5]], [5], dark[[2, 8]], [2, 8])
    _, other = scorer(bright[[5]], [5], dark[[2, 8]], [2, 8])
    assert other[0] < own[0]
    assert other[0] < 0


def test_other_models_have_no_scorer():
    assert make_scorer(types.SimpleNamespace(name='a baseline')) is None
