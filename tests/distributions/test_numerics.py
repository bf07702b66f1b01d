"""Float32 against float64 far out, densities that integrate to each other, and samples that follow their density."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

CORRELATIONS = (0.0, 0.5, 0.9, 0.99, 0.999)
DEGREES = (2.01, 2.5, 5.0, 1e3, 1e6, 1e8)


def two_sums(z, loc, marginal_variance, correlation, df=None):
    """Log-density `[D]` of `[n, D]`, float64, by the two eigenvalues of `a I + b 1 1^T`."""
    n = len(z)
    a, b = marginal_variance * (1 - correlation), marginal_variance * correlation
    centre = z.mean(0)
    beta = ((z - centre) ** 2).sum(0) / a + n * (centre - loc) ** 2 / (a + n * b)
    log_det = (n - 1) * np.log(a) + np.log(a + n * b)
    if df is None:
        return -0.5 * (n * np.log(2 * np.pi) + log_det + beta)
    return (
        scipy.special.gammaln((df + n) / 2)
        - scipy.special.gammaln(df / 2)
        - 0.5 * (n * np.log(np.pi * (df - 2)) + log_det)
        - 0.5 * (df + n) * np.log1p(beta / (df - 2))
    )


@pytest.mark.parametrize('n', [1, 9, 512, 4096])
@pytest.mark.parametrize('kind', ['Gaussian', 'StudentT'])
@pytest.mark.parametrize('correlation', CORRELATIONS)
def test_float32_of_long_sequences(n, kind, correlation, models):
    rng = np.random.default_rng(n)
    correlation, df, loc = np.float32(correlation), np.float32(DEGREES), np.float32(0.3)
    variance = np.float32(1.7)
    radius = (
        1.0 if kind == 'Gaussian' else np.sqrt((DEGREES - np.float64(2.0)) / rng.chisquare(np.maximum(DEGREES, 3.0)))
    )
    common, own = rng.normal(size=6), rng.normal(size=(n, 6))
    z = np.float32(loc + radius * np.sqrt(variance) * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own))
    model = models(f'Exchangeable{kind}Process')
    exact = {'loc': np.float64(loc), 'marginal_variance': np.float64(variance), 'correlation': np.float64(correlation)}
    exact |= {'df': df.astype(np.float64)} if kind == 'StudentT' else {}
    expected = two_sums(z.astype(np.float64), **exact)
    # One dimension at a time: a sum over dimensions could hide the error of one.
    columns = {name: np.broadcast_to(value, 6)[:, np.newaxis] for name, value in exact.items()}
    log_prob = model.with_parameters(**columns).make(n, np.float32).log_prob(z.T[..., np.newaxis])
    # Where terms of both signs cancel, 1e-5 of their size.
    size = np.maximum(np.abs(expected), 0.5 * n)
    np.testing.assert_array_less(np.abs(log_prob - expected) / size, 1e-5)


@pytest.mark.parametrize('seen', [(), (1, 4)])
def test_the_last_vector_integrates_out(seen, model, draw):
    """One dimension, by quadrature: the density of two vectors is that of three, integrated over the third."""
    keep = {name: value[:1] for name, value in model.parameters.items() if np.ndim(value) == 1}
    if model.is_factor:
        keep['loadings'] = model.parameters['loadings'][:, :1]
    model = model.with_parameters(**keep)
    z, z_seen = draw(2, 1), draw(2, 1, seed=1)[: len(seen)]
    process = model.make(3)
    if seen:
        process = model.posterior(process, z_seen, seen, 3)
    at, shorter_at = model.at([0, 2, 5]), model.at([0, 2])
    law = model.law([5], np.concatenate([z_seen, z]), [*seen, 0, 2])
    # In units of the last one's conditional deviation, over all numbers.
    centre, deviation = law.mean.item(), np.sqrt(law.variance.item())
    nodes, weights = np.polynomial.legendre.leggauss(200)
    angles = 0.5 * np.pi * nodes
    last = centre + deviation * np.tan(angles)
    events = np.concatenate([np.broadcast_to(z, (len(last), 2, 1)), last[:, np.newaxis, np.newaxis]], axis=1)
    log_prob = tf.function(lambda events: process.log_prob(events, **at))(events)
    density = np.exp(log_prob) * deviation / np.cos(angles) ** 2
    expected = np.exp(process.copy(num_steps=2).log_prob(z, **shorter_at))
    np.testing.assert_allclose(0.5 * np.pi * np.sum(weights * density), expected, rtol=1e-6)


@pytest.mark.parametrize('seen', [(), (1, 4, 5)])
def test_samples_follow_student_t_and_normal(seen, model, draw):
    """Each coordinate by Kolmogorov-Smirnov, and a direction that mixes the steps."""
    z_seen = draw(len(seen), 4, seed=1)
    process = model.make(2)
    if seen:
        process = model.posterior(process, z_seen, seen, 2)
    samples = process.sample(5000, seed=(3, 4), **model.at([0, 2])).numpy()
    for at, df, loc, covariance in model.law([0, 2], z_seen, seen).blocks:
        block = samples.reshape(5000, -1)[:, at]
        for direction in (np.eye(len(at))[0], np.eye(len(at))[-1], np.linspace(1.0, -2.0, len(at))):
            scale = np.sqrt(direction @ covariance @ direction)
            marginal = scipy.stats.norm if df is None else scipy.stats.t(df, 0.0, np.sqrt((df - 2) / df))
            standard = (block - loc) @ direction / scale
            assert scipy.stats.kstest(standard, marginal.cdf).pvalue > 1e-3


def test_radius_of_samples(model):
    """The squared distance of a joint sample is (df - 2) F / df times its size, or chi-squared."""
    samples = model.make(2).sample(5000, seed=(5, 6), **model.at([0, 2])).numpy().reshape(5000, -1)
    for at, df, loc, covariance in model.law([0, 2]).blocks:
        errors = samples[:, at] - loc
        beta = np.einsum('si,ij,sj->s', errors, np.linalg.inv(covariance), errors)
        size = len(at)
        expected = scipy.stats.chi2(size) if df is None else scipy.stats.f(size, df, scale=size * (df - 2) / df)
        assert scipy.stats.kstest(beta, expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize('validate_args', [False, True])
def test_equal_poses_and_no_noise_to_speak_of(validate_args, pose_model, draw):
    """Where vectors almost repeat each other the similarity has no inverse; float32 stays near float64."""
    model = pose_model.with_parameters(correlation=np.full_like(pose_model.parameters['correlation'], 0.99))
    slices, z = [2, 2, 2, 3], draw(1, 4) + 0.05 * draw(4, 4, seed=1)
    expected = model.law(slices).log_prob(z.astype(np.float32))
    for dtype, tolerance in ((np.float64, 1e-8), (np.float32, 1e-4)):
        process = model.make(4, dtype, validate_args=validate_args)
        log_prob = process.log_prob(z.astype(np.float32).astype(dtype), **model.at(slices, dtype))
        np.testing.assert_allclose(log_prob, expected, rtol=tolerance, atol=tolerance)
        samples = process.sample(3, seed=(1, 2), **model.at(slices, dtype))
        assert np.all(np.isfinite(samples))
        assert samples.dtype == tf.as_dtype(dtype)
