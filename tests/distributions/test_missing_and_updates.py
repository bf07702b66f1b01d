"""Batches of sequences of different lengths, and observations that come one at a time."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.distributions import _factor_sums as factor_sums

LENGTHS = (4, 1, 0, 3)
SLICES = np.array([[0, 1, 2, 3], [5, 0, 0, 0], [1, 1, 1, 1], [4, 2, 0, 0]])
WANTED = (1, 5)


@pytest.fixture
def padded(draw):
    """(vectors `[4, 4, 4]`, NaN after the length of each sequence, and which are missing)."""
    z = draw(4, 4, 4)
    is_missing = np.arange(4) >= np.array(LENGTHS)[:, np.newaxis]
    return np.where(is_missing[..., np.newaxis], np.nan, z), is_missing


@pytest.mark.parametrize('validate_args', [False, True])
def test_log_prob_with_missing_steps(validate_args, model, padded):
    z, is_missing = padded
    laws = [model.law(slices[:n]) for n, slices in zip(LENGTHS, SLICES, strict=True)]
    joint = [law.log_prob(one[:n]) for n, law, one in zip(LENGTHS, laws, z, strict=True)]
    each = [law.marginal_log_prob(one[:n]).sum() for n, law, one in zip(LENGTHS, laws, z, strict=True)]
    process = model.make(4, validate_args=validate_args)
    log_prob = process.log_prob(z, is_missing=is_missing, **model.at(SLICES))
    np.testing.assert_allclose(log_prob, joint, rtol=1e-9, atol=1e-12)
    independent = process.copy(independent_targets=True)
    np.testing.assert_allclose(
        independent.log_prob(z, is_missing=is_missing, **model.at(SLICES)), each, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize('name', ['FactorGaussianProcess', 'FactorStudentTProcess'])
def test_log_prob_with_loadings_in_blocks(name, models, padded, draw, monkeypatch):
    model, (z, is_missing), z_seen = models(name), padded, draw(1, 4, seed=6)
    monkeypatch.setattr(factor_sums, '_BLOCK', 0)
    monkeypatch.setattr(factor_sums, '_FEWEST_DIMENSIONS', 1)
    process = model.posterior(model.make(1), z_seen, [3], 4)
    laws = [model.law(slices[:n], z_seen, [3]) for n, slices in zip(LENGTHS, SLICES, strict=True)]
    expected = [law.log_prob(one[:n]) for n, law, one in zip(LENGTHS, laws, z, strict=True)]
    np.testing.assert_allclose(
        process.log_prob(z, is_missing=is_missing, **model.at(SLICES)), expected, rtol=1e-9, atol=1e-12
    )
    whole = np.nan_to_num(z)
    expected = [model.law(slices, z_seen, [3]).log_prob(one) for slices, one in zip(SLICES, whole, strict=True)]
    np.testing.assert_allclose(process.log_prob(whole, **model.at(SLICES)), expected, rtol=1e-9)


@pytest.mark.parametrize('validate_args', [False, True])
def test_posterior_with_missing_observations(validate_args, model, padded, draw):
    z, is_missing = padded
    wanted, at = draw(2, 4, seed=5), model.at(WANTED)
    posterior = model.posterior(model.make(2, validate_args=validate_args), z, SLICES, 2, is_missing=is_missing)
    laws = [model.law(WANTED, one[:n], s[:n]) for n, one, s in zip(LENGTHS, z, SLICES, strict=True)]
    assert posterior.batch_shape == [4]
    np.testing.assert_allclose(posterior.log_prob(wanted, **at), [law.log_prob(wanted) for law in laws], rtol=1e-9)
    np.testing.assert_allclose(posterior.mean(**at), [law.mean for law in laws], atol=1e-10)
    np.testing.assert_allclose(posterior.covariance(**at), [law.covariance for law in laws], atol=1e-10)
    np.testing.assert_allclose(posterior.variance(**at), [law.variance for law in laws], rtol=1e-9)
    np.testing.assert_allclose(posterior.entropy(**at), [law.entropy() for law in laws], rtol=1e-9)
    num = 20_000
    samples = posterior.sample(num, seed=(1, 2), **at).numpy().reshape(num, 4, -1)
    for index, law in enumerate(laws):
        scale = np.sqrt(law.variance.ravel())
        covariance = np.cov(samples[:, index].T) / np.outer(scale, scale)
        np.testing.assert_allclose(covariance, law.covariance / np.outer(scale, scale), atol=0.1)


def test_posterior_of_posterior_with_missing_observations(model, padded, draw):
    """A posterior with missing observations, conditioned again on a complete one; a log-density with one missing."""
    z, is_missing = padded
    more, scored = draw(1, 4, seed=6), draw(2, 4, seed=7)
    posterior = model.posterior(model.make(1), z, SLICES, 1, is_missing=is_missing)
    posterior = model.posterior(posterior, more, [3], 2)
    log_prob = posterior.log_prob(scored, is_missing=np.array([False, True]), **model.at(WANTED))
    expected = [
        model.law(WANTED[:1], np.concatenate([one[:n], more]), [*slices[:n], 3]).log_prob(scored[:1])
        for n, one, slices in zip(LENGTHS, z, SLICES, strict=True)
    ]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9)


def test_missing_observations_have_no_gradient(model, padded):
    z, is_missing = padded
    value = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(value)
        log_prob = model.make(4).log_prob(value, is_missing=is_missing, **model.at(SLICES))
    gradient = tape.gradient(log_prob, value).numpy()
    np.testing.assert_array_equal(gradient[is_missing], 0.0)
    assert np.all(np.abs(gradient[~is_missing]) > 0)
    assert np.all(np.isfinite(gradient))


def test_update_equals_posterior(model, draw):
    z, seen, wanted = draw(3, 4), [1, 4, 5], draw(2, 4, seed=1)
    process = model.make(2)
    for vector, at in zip(z, seen, strict=True):
        process = model.update(process, vector, at)
    assert process.event_shape == [2, 4]
    law, at = model.law(WANTED, z, seen), model.at(WANTED)
    np.testing.assert_allclose(process.log_prob(wanted, **at), law.log_prob(wanted), rtol=1e-9)
    np.testing.assert_allclose(process.mean(**at), law.mean, atol=1e-10)
    np.testing.assert_allclose(process.covariance(**at), law.covariance, atol=1e-10)


def test_update_of_a_batch(model, draw):
    z, slices = draw(2, 5, 4), np.array([[0, 1, 2, 3, 4], [1, 3, 5, 0, 2]])
    process = model.make(2)
    for step in range(2):
        process = model.update(process, z[step], slices[step])
    assert process.batch_shape == [5]
    expected = [model.law(WANTED, z[:, index], slices[:, index]).mean for index in range(5)]
    np.testing.assert_allclose(process.mean(**model.at(WANTED)), expected, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['Gaussian', 'StudentT'])
def test_update_a_thousand_times_in_float32(kind, models):
    model = models(f'Exchangeable{kind}Process')
    if kind == 'StudentT':
        model = model.with_parameters(df=np.array([2.01, 5.0, 1e3, 1e8]))
    model = model.with_parameters(correlation=np.array([0.0, 0.5, 0.9, 0.999], np.float32).astype(np.float64))
    z = (np.random.default_rng(0).normal(size=(1000, 4)) * 0.3 + 1.0).astype(np.float32)
    process = model.make(1, np.float32)
    update = tf.function(lambda process, vector: process.update(vector))
    for vector in tf.unstack(tf.constant(z)):
        process = update(process, vector)
    bulk, exact = (
        model.make(1, np.float32).posterior(z, num_steps=1),
        model.make(1).posterior(z.astype(np.float64), num_steps=1),
    )
    for other in (bulk, exact):
        np.testing.assert_allclose(process.mean(), other.mean(), rtol=1e-4)
        np.testing.assert_allclose(process.variance(), other.variance(), rtol=1e-4)
        np.testing.assert_allclose(process.log_prob(z[:1]), other.log_prob(z[:1]), rtol=1e-4, atol=1e-4)
