"""Float32 against float64 at extreme parameters, integrals of densities, and samples against their density."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno import distributions

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
def test_log_prob_of_long_sequences_in_float32(n, kind, correlation, models):
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


@pytest.mark.slow
@pytest.mark.parametrize('seen', [(), (1, 4)])
def test_log_prob_integrates_to_marginal(seen, model, draw):
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
def test_sample_follows_scipy_marginals(seen, model, draw):
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


def test_sample_radius_follows_f_distribution(model):
    """The squared distance of a joint sample is (df - 2) F / df times its size, or chi-squared."""
    samples = model.make(2).sample(5000, seed=(5, 6), **model.at([0, 2])).numpy().reshape(5000, -1)
    for at, df, loc, covariance in model.law([0, 2]).blocks:
        errors = samples[:, at] - loc
        beta = np.einsum('si,ij,sj->s', errors, np.linalg.inv(covariance), errors)
        size = len(at)
        expected = scipy.stats.chi2(size) if df is None else scipy.stats.f(size, df, scale=size * (df - 2) / df)
        assert scipy.stats.kstest(beta, expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize('validate_args', [False, True])
def test_log_prob_at_equal_poses_with_little_noise(validate_args, pose_model, draw):
    """The similarity is singular for equal poses; float32 stays near float64."""
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


def near_pairs(name, kernel, correlation, dtype, **changes):
    """The posterior at 5 poses of 60 observations, in 30 pairs of poses 1e-7 apart, and its dense float64 moments.

    Returns:
        The posterior, and its exact moments: mean and variance `[5, 2]`, covariance of the flattened event.
    """
    rng, size = np.random.default_rng(0), 2
    centres = rng.uniform(0.1, 1.0, 30).astype(np.float32)
    seen = np.concatenate([centres, centres + np.float32(1e-7)])[:, np.newaxis]
    wanted = centres[:5, np.newaxis] + np.float32(0.003)
    variance, weights = np.array([0.5, 1.5], np.float32), rng.normal(size=(size, 2)).astype(np.float32)
    is_factor, is_student = 'Factor' in name, 'StudentT' in name
    correlation = np.float32(correlation)
    parameters = {'residual_variance' if is_factor else 'marginal_variance': variance.astype(dtype)}
    parameters['correlation'] = dtype(correlation) if is_factor else np.full(size, dtype(correlation))
    parameters['kernel'] = getattr(tfp.math.psd_kernels, kernel)(length_scale=dtype(0.5))
    if is_factor:
        parameters['loadings'] = lambda poses: weights.astype(dtype) * (1 + poses[..., tf.newaxis])
    if is_student:
        parameters['df'] = dtype(7.0) if is_factor else np.full(size, dtype(7.0))
    # Dense.
    points = np.concatenate([seen, wanted])[:, 0].astype(np.float64)
    distance = np.abs(np.subtract.outer(points, points)) / 0.5
    similarity = np.exp(-distance if kernel == 'MaternOneHalf' else -0.5 * distance**2)
    residual = np.float64(correlation) * similarity + (1 - np.float64(correlation)) * np.eye(65)
    covariance = np.einsum('ij,d,de->idje', residual, variance.astype(np.float64), np.eye(size))
    if is_factor:
        loadings = weights.astype(np.float64) * (1 + points[:, np.newaxis, np.newaxis])
        covariance += np.einsum('idq,jeq->idje', loadings, loadings)
    covariance = covariance.reshape(130, 130)
    z = (np.linalg.cholesky(covariance[:120, :120]) @ rng.normal(size=120)).astype(np.float32).reshape(60, size)
    blocks = [np.arange(130)] if is_factor else [np.arange(d, 130, size) for d in range(size)]
    mean, rest = np.zeros(10), np.zeros((10, 10))
    for block in blocks:
        old, new = block[block < 120], block[block >= 120]
        gain = np.linalg.solve(covariance[np.ix_(old, old)], covariance[np.ix_(old, new)]).T
        error = z.astype(np.float64).ravel()[old]
        scale = 1.0
        if is_student:
            beta = error @ np.linalg.solve(covariance[np.ix_(old, old)], error)
            scale = (7.0 + beta - 2) / (7.0 + len(old) - 2)
        mean[new - 120] = gain @ error
        rest[np.ix_(new - 120, new - 120)] = scale * (
            covariance[np.ix_(new, new)] - gain @ covariance[np.ix_(old, new)]
        )
    process = getattr(distributions, name)(loc=dtype(0.0), num_steps=5, **parameters, **changes)
    posterior = process.posterior(z.astype(dtype), seen.astype(dtype), poses=wanted.astype(dtype))
    return posterior, mean.reshape(5, size), np.diag(rest).reshape(5, size), rest


OVER_POSES = [name for name in distributions.__all__ if name.endswith('Process') and 'Exchangeable' not in name]


@pytest.mark.slow
@pytest.mark.parametrize('kernel', ['MaternOneHalf', 'ExponentiatedQuadratic'])
@pytest.mark.parametrize('name', OVER_POSES)
def test_posterior_of_near_poses_in_float32(name, kernel):
    posterior, mean, variance, covariance = near_pairs(name, kernel, 0.99999, np.float32)
    deviation = np.sqrt(variance)
    np.testing.assert_allclose(posterior.variance(), variance, rtol=0.03)
    np.testing.assert_allclose(np.diag(posterior.covariance()).reshape(5, 2), variance, rtol=0.03)
    np.testing.assert_allclose(posterior.covariance(), covariance, atol=0.03 * variance.max())
    # Rounding of the kernel itself moves the mean by a part of its deviation.
    np.testing.assert_array_less(np.abs(posterior.mean() - mean) / deviation, 0.3)
    samples = posterior.sample(2000, seed=(1, 2)).numpy()
    np.testing.assert_allclose(samples.std(0), deviation, rtol=0.1)
    exact = near_pairs(name, kernel, 0.99999, np.float64)[0]
    np.testing.assert_allclose(posterior.entropy(), exact.entropy(), atol=0.2)


@pytest.mark.parametrize('name', OVER_POSES)
def test_jitter_is_the_smallest_noise(name):
    """By default too small to change results in float64; a larger one is equivalent to a smaller correlation."""
    posterior, mean, variance, _ = near_pairs(name, 'ExponentiatedQuadratic', 0.99999, np.float64)
    np.testing.assert_allclose(posterior.mean(), mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(posterior.variance(), variance, rtol=1e-5)
    posterior, _, variance, _ = near_pairs(name, 'ExponentiatedQuadratic', 1.0 - 1e-7, np.float32)
    assert np.all(posterior.variance() > variance)
    assert np.all(np.isfinite(posterior.sample(3, seed=(1, 2))))
    assert np.isfinite(posterior.entropy())
    wider, _, _, _ = near_pairs(name, 'ExponentiatedQuadratic', 0.99999, np.float64, jitter=1e-3)
    assert np.all(wider.variance() > 10 * near_pairs(name, 'ExponentiatedQuadratic', 0.99999, np.float64)[2])
    assert wider.copy(num_steps=5).jitter == 1e-3


@pytest.mark.parametrize('compiled', [False, True])
def test_indefinite_covariance_is_an_error(compiled, pose_model, draw):
    class Indefinite(tfp.math.psd_kernels.MaternOneHalf):
        def _apply(self, *args, **kwargs):
            return 1.5 - 2.0 * super()._apply(*args, **kwargs)

    process = pose_model.make(2, kernel=Indefinite(length_scale=np.float64(1.0)), constant_share=0.0)
    at, posterior = pose_model.at([0, 2]), pose_model.posterior(process, draw(2, 4), [1, 4], 2)
    for method in (lambda: process.log_prob(draw(2, 4), **at), lambda: posterior.mean(**at)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'not positive definite in float64.*larger `jitter`'):
            (tf.function(method) if compiled else method)()
