"""Coverage and CRPS, against their definitions and against samples of the truth's own distribution."""

import numpy as np
import pytest

from tfp_bruno.evaluation.calibration import calibration_figures, coverage


@pytest.mark.parametrize('count', [4, 9, 60])
@pytest.mark.parametrize('share', [0.5, 0.9])
def test_truths_of_the_samples_own_kind_are_covered_as_often_as_said(count, share):
    values, samples = np.random.default_rng(0).normal(size=20000), np.random.default_rng(1).normal(size=(count, 20000))
    assert np.mean(coverage(values, samples, share)) == pytest.approx(share, abs=0.01)
    # Values of a few levels only: most of them are equal to some samples.
    assert np.mean(coverage(np.round(values), np.round(samples), share)) == pytest.approx(share, abs=0.01)


def test_coverage_by_hand():
    samples = np.arange(1.0, 4.0)[:, None]
    # Four places of a quarter; the central half is the two in the middle.
    values = np.array([0.5, 1.5, 2.5, 3.5, 2.0])
    np.testing.assert_allclose(coverage(values, samples, 0.5), [0, 1, 1, 0, 1])
    np.testing.assert_allclose(coverage(values, samples, 0.75), [0.5, 1, 1, 0.5, 1])


def test_too_narrow_samples_cover_less_and_too_wide_ones_more():
    rng = np.random.default_rng(0)
    truth = 0.5 + 0.05 * rng.normal(size=(4, 20, 20))
    found = [calibration_figures(truth, 0.5 + width * rng.normal(size=(40, 4, 20, 20)), [1]) for width in (0.02, 0.2)]
    assert found[0]['coverage_50'] < 0.3
    assert found[1]['coverage_50'] > 0.7
    assert found[0]['coverage_90'] < 0.6
    assert found[1]['coverage_90'] > 0.99


def test_crps_is_that_of_its_definition_in_the_mask_without_contexts():
    rng = np.random.default_rng(0)
    truth, samples = rng.uniform(0.1, 1, (3, 12, 12)), rng.uniform(0, 1, (7, 3, 12, 12))
    truth[0, :6] = 0
    seen = (truth > 0.02) & (np.arange(3) != 2)[:, None, None]
    drawn = samples[:, seen]
    spread = np.abs(drawn[:, None] - drawn[None]).sum((0, 1)) / (2 * 7 * 6)
    expected = np.mean(np.abs(drawn - truth[seen]).mean(0) - spread)
    assert calibration_figures(truth, samples, [2])['crps'] == pytest.approx(expected)


@pytest.mark.parametrize(('truth', 'count'), [(np.zeros((3, 12, 12)), 5), (np.ones((3, 12, 12)), 1)])
def test_nothing_to_score_is_nan(truth, count):
    assert np.all(np.isnan(list(calibration_figures(truth, np.ones((count, 3, 12, 12)), []).values())))
