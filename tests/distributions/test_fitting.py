"""Closed-form fits against the SVD and samples of known processes."""

import numpy as np
import pytest

from tfp_bruno.distributions import SLICE_KERNELS, FactorGaussianProcess, FactorStudentTProcess, slice_kernel
from tfp_bruno.distributions.fitting import fit_factor_moments, fit_kernel, held_out_residual, principal_axes


@pytest.mark.parametrize('count', [3, 50])
def test_principal_axes_match_svd(count):
    samples = np.random.default_rng(0).normal(size=(8, 5, 8)).astype(np.float32)
    samples -= samples.mean(0)
    samples = np.concatenate([samples[:3], np.full([2, 5, 8], 9.0, np.float32), samples[3:]])
    chosen = (np.arange(10) < 3) | (np.arange(10) > 4)
    axes, deviations = principal_axes(samples, count, chosen=chosen)
    samples = samples[chosen].reshape(8, -1)
    _, singular, expected = np.linalg.svd(samples.astype(np.float64), full_matrices=False)
    kept = min(count, 7)
    assert axes.shape == (kept, 5, 8)
    axes = axes.reshape(kept, -1)
    np.testing.assert_allclose(deviations, singular[:kept] / np.sqrt(8), rtol=1e-4)
    np.testing.assert_allclose(axes @ axes.T, np.eye(kept), atol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum(axes * expected[:kept], 1)), np.ones(kept), atol=1e-4)


FALL_OFFS = {
    'exponential': lambda distance: np.exp(-distance),
    'matern_three_halves': lambda distance: (1 + np.sqrt(3) * distance) * np.exp(-np.sqrt(3) * distance),
    'squared_exponential': lambda distance: np.exp(-(distance**2) / 2),
}


@pytest.mark.parametrize('family', list(FALL_OFFS))
@pytest.mark.parametrize(('share', 'length'), [(0.9, 8.0), (0.5, 12.0), (0.7, 4.0)])
def test_fit_kernel_recovers_a_process(share, length, family):
    rng = np.random.default_rng(0)
    step, slices = 2, 16
    distance = step * np.abs(np.subtract.outer(np.arange(slices), np.arange(slices)))
    covariance = share * FALL_OFFS[family](distance / length) + (1 - share) * np.eye(slices)
    residual = np.einsum('ij,sjd->sid', np.linalg.cholesky(covariance), rng.normal(size=(150, slices, 60)))
    fitted = fit_kernel(3.0 * residual.astype(np.float32), step, SLICE_KERNELS[family])
    np.testing.assert_allclose(fitted, (share, length), rtol=0.08)


def test_slice_kernel_matches_formula():
    poses = np.eye(30, dtype=np.float32)
    for family, fall_off in FALL_OFFS.items():
        matrix = slice_kernel(np.float32(6.0), 30, family).matrix(poses[[3]], poses)
        np.testing.assert_allclose(matrix[0], fall_off(np.abs(np.arange(30) - 3) / 6.0), rtol=1e-4)


def test_fit_kernel_stays_in_its_range():
    noise = np.random.default_rng(0).normal(size=(20, 10, 30)).astype(np.float32)
    for residual in (noise, np.repeat(noise[:, :1], 10, axis=1), noise * (-1.0) ** np.arange(10)[:, np.newaxis]):
        share, length = fit_kernel(residual, 4)
        assert 0.05 <= share <= 0.97
        assert 0.99 <= length <= 40.1


def test_held_out_residual_is_orthogonal_to_the_components_of_the_others():
    samples = np.random.default_rng(0).normal(size=(20, 6, 9)).astype(np.float32)
    # An augmented copy, which the components use, and of which no residual is wanted.
    samples, subjects = np.concatenate([samples, samples[1:2]]), np.append(np.arange(20), 1)
    flat = samples.reshape(21, -1)
    axes = np.linalg.svd(flat[subjects % 5 != 0], full_matrices=False)[2][:4]
    unseen = flat[:20:5]
    expected = unseen - unseen @ axes.T @ axes
    residual = held_out_residual(samples, 4, subjects)
    np.testing.assert_allclose(residual, expected.reshape(4, 6, 9), atol=1e-4)


def test_fit_factor_moments_uses_copies_for_components_only():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(20, 6, 9)).astype(np.float32)
    copies = np.concatenate([samples, np.repeat(samples, 2, axis=0)])
    alone = fit_factor_moments(samples, 4)
    together = fit_factor_moments(copies, 4, subjects=np.concatenate([np.arange(20), np.repeat(np.arange(20), 2)]))
    # Three copies of each subject have the same components; the residual uses one copy of each held-out subject.
    np.testing.assert_allclose(together.loadings**2, alone.loadings**2, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(together.variance, alone.variance, rtol=1e-3)
    # Copies that count as subjects leak held-out subjects into the components.
    leaking = fit_factor_moments(copies, 4)
    assert np.mean(leaking.variance) < np.mean(alone.variance)


@pytest.mark.parametrize('process', [FactorGaussianProcess, FactorStudentTProcess])
def test_from_samples_recovers_a_process(process):
    rng = np.random.default_rng(0)
    slices, dimension, factors = 8, 30, 2
    loadings = rng.normal(size=(slices, dimension, factors)).astype(np.float32)
    truth = {
        'loc': rng.normal(size=dimension).astype(np.float32),
        'loadings': loadings,
        'residual_variance': rng.uniform(0.2, 0.6, dimension).astype(np.float32),
        'correlation': np.float32(0.8),
        'kernel': slice_kernel(np.float32(5.0), slices),
        'poses': np.eye(slices, dtype=np.float32),
    }
    if process is FactorStudentTProcess:
        truth['df'] = np.float32(12.0)
    true = process(**truth)
    samples = true.sample(600, seed=(1, 2)).numpy()
    fitted = process.from_samples(samples, factors)
    assert fitted.event_shape == [slices, dimension]
    poses = np.eye(slices, dtype=np.float32)
    np.testing.assert_allclose(fitted.mean(conditional_input=poses), samples.mean(0), atol=1e-4)
    gram = np.einsum('idq,jeq->idje', loadings, loadings)
    fitted_gram = np.einsum('idq,jeq->idje', fitted.loadings, fitted.loadings)
    assert np.linalg.norm(fitted_gram - gram) < 0.25 * np.linalg.norm(gram)
    np.testing.assert_allclose(fitted.residual_variance, truth['residual_variance'], rtol=0.25)
    np.testing.assert_allclose(fitted.correlation, 0.8, atol=0.1)
    unseen = true.sample(200, seed=(3, 4))
    gap = true.log_prob(unseen) - fitted.log_prob(unseen, conditional_input=poses)
    # Nats of 240 numbers.
    assert 0.0 < np.mean(gap) < 6.0
    if process is FactorStudentTProcess:
        assert 6.0 < float(fitted.df) < 30.0


def test_from_samples_accepts_constructor_arguments():
    samples = np.random.default_rng(0).normal(size=(10, 4, 3))
    process = FactorGaussianProcess.from_samples(samples, 2, correlation=0.25, poses=np.eye(4, dtype=np.float32)[:2])
    np.testing.assert_allclose(process.correlation, 0.25)
    assert process.event_shape == [2, 3]
