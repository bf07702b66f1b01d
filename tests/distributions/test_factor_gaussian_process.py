"""The factor process against the dense Gaussian of SciPy."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno.distributions import FactorGaussianProcess

POSES, DIMENSION, FACTORS = 6, 3, 2
SHARE, LENGTH = 0.7, 2.5


def parts(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(POSES, DIMENSION, FACTORS)), rng.uniform(0.5, 1.5, DIMENSION), rng.normal(size=DIMENSION)


def make(num_steps, seed=0, **kwargs):
    loadings, scale, loc = parts(seed)
    positions = tf.range(POSES, dtype=tf.float64)[:, None]
    kernel = tfp.math.psd_kernels.FeatureTransformed(
        tfp.math.psd_kernels.MaternOneHalf(length_scale=tf.constant(LENGTH, tf.float64)),
        lambda poses, *_: poses @ positions,
    )
    return FactorGaussianProcess(loadings, scale, kernel, np.float64(SHARE), num_steps, loc=loc, **kwargs)


def dense(steps, seed=0):
    """Mean and covariance of the flattened vectors at slices `steps`, written out."""
    loadings, scale, loc = parts(seed)
    n = len(steps)
    covariance = np.zeros((n, DIMENSION, n, DIMENSION))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            smooth = SHARE * np.exp(-abs(a - b) / LENGTH) + (1 - SHARE) * (i == j)
            covariance[i, :, j, :] = loadings[a] @ loadings[b].T + smooth * np.diag(scale**2)
    return np.tile(loc, n), covariance.reshape(n * DIMENSION, n * DIMENSION)


def one_hot(steps):
    return np.eye(POSES)[list(steps)]


@pytest.mark.parametrize('steps', [[2], [0, 5], [4, 1, 3, 0]])
def test_log_prob_is_the_dense_gaussian(steps):
    z = np.random.default_rng(1).normal(size=(7, len(steps), DIMENSION))
    mean, covariance = dense(steps)
    expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(z.reshape(7, -1))
    np.testing.assert_allclose(make(len(steps)).log_prob(z, conditional_input=one_hot(steps)), expected, rtol=1e-10)


@pytest.mark.parametrize('seen', [[], [3], [1, 4, 5]])
def test_posterior_is_the_conditional_gaussian(seen):
    wanted = [0, 2]
    rng = np.random.default_rng(2)
    z_seen, z_wanted = rng.normal(size=(len(seen), DIMENSION)), rng.normal(size=(len(wanted), DIMENSION))
    mean, covariance = dense([*seen, *wanted])
    cut = len(seen) * DIMENSION
    gain = covariance[cut:, :cut] @ np.linalg.inv(covariance[:cut, :cut]) if seen else np.zeros((6, 0))
    expected_mean = mean[cut:] + gain @ (z_seen.ravel() - mean[:cut])
    expected_covariance = covariance[cut:, cut:] - gain @ covariance[:cut, cut:]

    posterior = make(2).posterior(z_seen, 2, conditional_input=one_hot(seen).reshape(len(seen), POSES))
    poses = one_hot(wanted)
    np.testing.assert_allclose(posterior.mean(conditional_input=poses), expected_mean.reshape(2, -1), atol=1e-10)
    np.testing.assert_allclose(
        posterior.variance(conditional_input=poses), np.diag(expected_covariance).reshape(2, -1), atol=1e-10
    )
    expected = scipy.stats.multivariate_normal(expected_mean, expected_covariance).logpdf(z_wanted.ravel())
    np.testing.assert_allclose(posterior.log_prob(z_wanted, conditional_input=poses), expected, rtol=1e-9)
    samples = posterior.sample(40_000, seed=(1, 2), conditional_input=poses).numpy().reshape(40_000, -1)
    error = 5 * np.sqrt(np.diag(expected_covariance) / 40_000)
    assert np.all(np.abs(samples.mean(0) - expected_mean) < error)
    np.testing.assert_allclose(np.cov(samples.T), expected_covariance, atol=0.05 * expected_covariance.max())


def test_conditioning_in_two_steps_equals_one():
    z = np.random.default_rng(3).normal(size=(3, DIMENSION))
    once = make(2).posterior(z, 2, conditional_input=one_hot([0, 2, 5]))
    twice = make(2).posterior(z[:1], 2, conditional_input=one_hot([0]))
    twice = twice.posterior(z[1:], 2, conditional_input=one_hot([2, 5]))
    poses = one_hot([1, 3])
    np.testing.assert_allclose(twice.mean(conditional_input=poses), once.mean(conditional_input=poses), atol=1e-10)


def test_batches_of_sequences():
    z = np.random.default_rng(4).normal(size=(5, 2, DIMENSION))
    poses = np.stack([one_hot([i, (i + 2) % POSES]) for i in range(5)])
    one_by_one = [make(2).log_prob(z[i], conditional_input=poses[i]) for i in range(5)]
    np.testing.assert_allclose(make(2).log_prob(z, conditional_input=poses), one_by_one, rtol=1e-10)
    posterior = make(1).posterior(z, 1, conditional_input=poses)
    assert posterior.batch_shape == [5]
    assert posterior.sample(3, seed=(1, 2), conditional_input=one_hot([1])).shape == (3, 5, 1, DIMENSION)


def test_errors_name_the_shapes():
    with pytest.raises(ValueError, match='conditional_input'):
        make(2).log_prob(np.zeros((2, DIMENSION)))
    with pytest.raises(ValueError, match='one pose per vector'):
        make(2).log_prob(np.zeros((2, DIMENSION)), conditional_input=one_hot([1, 2, 3]))
    with pytest.raises(ValueError, match=r'\[\.\.\., n, 3\]'):
        make(2).log_prob(np.zeros((2, 4)), conditional_input=one_hot([1, 2]))
