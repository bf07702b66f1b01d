"""Bits per dimension against known entropies."""

import numpy as np
import pytest
from scipy import stats

from tfp_bruno.evaluation import likelihood


class BetaModel:
    """Every pixel on its own, Beta(2, 5)."""

    def log_prob(self, images, slices):
        assert images.shape[1] == len(slices) == 9
        return stats.beta.logpdf(images.astype(float), 2, 5).sum(axis=(1, 2, 3))


class UniformModel:
    def log_prob(self, images, slices):
        return np.zeros(len(images))


def test_uniform_density_needs_eight_bits():
    bits = likelihood.bits_per_dimension(UniformModel(), np.zeros((3, 20, 4, 4)), seed=0)
    np.testing.assert_array_equal(bits, [8, 8, 8])


def test_approaches_the_entropy():
    images = np.random.default_rng(0).beta(2, 5, (2, 40, 64, 64))
    bits = likelihood.bits_per_dimension(BetaModel(), images, seed=0)
    np.testing.assert_allclose(bits, stats.beta(2, 5).entropy() / np.log(2) + 8, atol=0.02)


@pytest.mark.parametrize(('count', 'num_slices'), [(9, 80), (9, 9), (4, 80)])
def test_spread_over_stack(count, num_slices):
    slices = likelihood.spread_over_stack(count, num_slices)
    assert len(set(slices)) == count
    # Symmetric up to rounding down.
    assert np.all(np.abs(slices + slices[::-1] - (num_slices - 1)) <= 1)


def test_dequantise_stays_within_its_grey_level():
    levels = np.arange(256)
    values = likelihood.dequantise(np.tile(levels / 255, (2000, 1)), seed=0)
    np.testing.assert_array_equal(np.floor(values * 256), np.tile(levels, (2000, 1)))
    assert stats.kstest((values * 256 % 1).ravel(), 'uniform').statistic < 0.01
    assert values.max() < 1
