"""Coverage and CRPS against their definitions and known distributions, bits per dimension against known entropies."""

import numpy as np
import pytest
from scipy import stats

from tfp_bruno.data.encoding import dequantise
from tfp_bruno.evaluation.predictive import bits_per_dimension, calibration_scores, coverage, spread_over_stack
from tfp_bruno.evaluation.variogram import variogram_score


@pytest.mark.parametrize('count', [4, 9, 60])
@pytest.mark.parametrize('share', [0.5, 0.9])
def test_coverage_equals_the_probability_if_values_are_distributed_as_samples(count, share):
    values, samples = np.random.default_rng(0).normal(size=20000), np.random.default_rng(1).normal(size=(count, 20000))
    assert np.mean(coverage(values, samples, share)) == pytest.approx(share, abs=0.01)
    # Few distinct values: most of them are equal to some samples.
    assert np.mean(coverage(np.round(values), np.round(samples), share)) == pytest.approx(share, abs=0.01)


def test_coverage_matches_hand_computation():
    samples = np.arange(1.0, 4.0)[:, None]
    # Four places of a quarter; the central half is the two in the middle.
    values = np.array([0.5, 1.5, 2.5, 3.5, 2.0])
    np.testing.assert_allclose(coverage(values, samples, 0.5), [0, 1, 1, 0, 1])
    np.testing.assert_allclose(coverage(values, samples, 0.75), [0.5, 1, 1, 0.5, 1])


def test_calibration_scores_reveal_too_narrow_and_too_wide_samples():
    rng = np.random.default_rng(0)
    truth = 0.5 + 0.05 * rng.normal(size=(4, 20, 20))
    found = [calibration_scores(truth, 0.5 + width * rng.normal(size=(40, 4, 20, 20)), [1], 0) for width in (0.02, 0.2)]
    assert found[0]['coverage_50'] < 0.3
    assert found[1]['coverage_50'] > 0.7
    assert found[0]['coverage_90'] < 0.6
    assert found[1]['coverage_90'] > 0.99


def test_crps_matches_its_definition_in_the_mask_without_contexts():
    rng = np.random.default_rng(0)
    truth, samples = rng.uniform(0.1, 1, (3, 12, 12)), rng.uniform(0, 1, (7, 3, 12, 12))
    truth[0, :6] = 0
    seen = (truth > 0.02) & (np.arange(3) != 2)[:, None, None]
    drawn = samples[:, seen]
    spread = np.abs(drawn[:, None] - drawn[None]).sum((0, 1)) / (2 * 7 * 6)
    expected = np.mean(np.abs(drawn - truth[seen]).mean(0) - spread)
    assert calibration_scores(truth, samples, [2], 0)['crps'] == pytest.approx(expected)


def test_variogram_score_is_that_of_the_mask_without_contexts():
    rng = np.random.default_rng(0)
    truth, samples = rng.uniform(0.1, 1, (6, 12, 12)), rng.uniform(0, 1, (7, 6, 12, 12))
    truth[0, :6] = 0
    mask = truth > 0.02
    mask[2] = False
    found = calibration_scores(truth, samples, [2], (4, 1))['variogram']
    assert found == variogram_score(truth, samples, mask, (4, 1))


@pytest.mark.parametrize(('truth', 'count'), [(np.zeros((3, 12, 12)), 5), (np.ones((3, 12, 12)), 1)])
def test_calibration_scores_of_nothing_are_nan(truth, count):
    assert np.all(np.isnan(list(calibration_scores(truth, np.ones((count, 3, 12, 12)), [], 0).values())))


class BetaModel:
    """Independent pixels, Beta(2, 5)."""

    def log_prob(self, images, slices):
        assert images.shape[1] == len(slices) == 9
        return stats.beta.logpdf(images.astype(float), 2, 5).sum(axis=(1, 2, 3))


class UniformModel:
    def log_prob(self, images, slices):
        return np.zeros(len(images))


def test_bits_per_dimension_of_a_uniform_density_is_eight():
    bits = bits_per_dimension(UniformModel(), np.zeros((3, 20, 4, 4)), seed=0)
    np.testing.assert_array_equal(bits, [8, 8, 8])


def test_bits_per_dimension_matches_the_entropy():
    images = np.random.default_rng(0).beta(2, 5, (2, 40, 64, 64))
    bits = bits_per_dimension(BetaModel(), images, seed=0)
    np.testing.assert_allclose(bits, stats.beta(2, 5).entropy() / np.log(2) + 8, atol=0.02)


@pytest.mark.parametrize(('count', 'num_slices'), [(9, 80), (9, 9), (4, 80)])
def test_spread_over_stack_is_distinct_and_symmetric(count, num_slices):
    slices = spread_over_stack(count, num_slices)
    assert len(set(slices)) == count
    # Symmetric up to rounding down.
    assert np.all(np.abs(slices + slices[::-1] - (num_slices - 1)) <= 1)


def test_dequantise_stays_within_its_grey_level():
    levels = np.arange(256)
    values = dequantise(np.tile(levels / 255, (2000, 1)), seed=0)
    np.testing.assert_array_equal(np.floor(values * 256), np.tile(levels, (2000, 1)))
    assert stats.kstest((values * 256 % 1).ravel(), 'uniform').statistic < 0.01
    assert values.max() < 1
