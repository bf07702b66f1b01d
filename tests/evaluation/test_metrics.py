"""Scores against scikit-image, SciPy and their definitions."""

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.metrics import peak_signal_noise_ratio

from tfp_bruno.evaluation import metrics

CONTEXTS = (2, 7)
OTHERS = [k for k in range(10) if k not in CONTEXTS]


@pytest.fixture
def volumes():
    """A truth with slices whose mask is empty, just too small and just large enough, and a prediction."""
    rng = np.random.default_rng(0)
    truth = np.clip(ndimage.gaussian_filter(rng.normal(0.3, 1, (10, 20, 18)), 1), 0, 1).astype(np.float32)
    truth[0] = 0
    for k, count in ((4, 29), (5, 30)):
        truth[k] = 0
        truth[k].flat[40 : 40 + count] = rng.uniform(0.03, 1, count)
    prediction = np.clip(truth + rng.normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)
    return truth, prediction


def reference_ssim(truth, prediction):
    """Equation 13 of Wang et al. 2004 in SciPy: (mean without the border, map) of each slice."""

    def window(image):
        return ndimage.gaussian_filter(image, 1.5, truncate=3.5)

    pairs = []
    for a, b in zip(truth.astype(np.float64), prediction.astype(np.float64), strict=True):
        mean_a, mean_b = window(a), window(b)
        variances = window(a * a) - mean_a**2 + window(b * b) - mean_b**2
        covariance = window(a * b) - mean_a * mean_b
        image = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
        image /= (mean_a**2 + mean_b**2 + 1e-4) * (variances + 9e-4)
        pairs.append((image[5:-5, 5:-5].mean(), image))
    return pairs


def test_ssim_matches_the_equation_of_wang(volumes):
    reference = reference_ssim(*volumes)
    np.testing.assert_allclose(metrics.ssim_map(*volumes), [image for _, image in reference], atol=1e-5)
    volume = metrics.score_volume(*volumes, CONTEXTS)
    means = np.array([mean for mean, _ in reference])
    np.testing.assert_allclose(volume.ssim_over_slices, means, atol=1e-5)
    assert volume.scores['ssim'] == pytest.approx(means.mean(), abs=1e-5)
    assert volume.scores['ssim_no_contexts'] == pytest.approx(means[OTHERS].mean(), abs=1e-5)


def test_cc_and_psnr_match_scipy_and_scikit_image(volumes):
    truth, prediction = volumes
    scores = metrics.score_volume(*volumes, CONTEXTS).scores
    averages, _ = metrics.with_psnr(scores, dict.fromkeys(scores, 0.0))
    for ending, chosen in (('', range(10)), ('_no_contexts', OTHERS)):
        some_truth, some_prediction = truth[chosen], prediction[chosen]
        expected = stats.pearsonr(some_truth.ravel(), some_prediction.ravel()).statistic
        assert averages[f'cc{ending}'] == pytest.approx(expected, abs=1e-6)
        expected = peak_signal_noise_ratio(some_truth, some_prediction, data_range=1)
        assert averages[f'psnr{ending}'] == pytest.approx(expected, abs=1e-4)


def test_mask_scores_match_their_definition(volumes):
    truth, prediction = volumes
    scores = metrics.score_volume(*volumes, CONTEXTS).scores
    ssim, true_values, values, true_gradients, gradients = [], [], [], [], []
    for k in (1, 3, 5, 6, 8, 9):
        similarity = reference_ssim(truth[[k]], prediction[[k]])[0][1]
        inside = [(h, w) for h in range(20) for w in range(18) if truth[k, h, w] > 0.02]
        ssim.append(np.mean([similarity[pixel] for pixel in inside]))
        for h, w in inside:
            down, right = min(h + 1, 19), min(w + 1, 17)
            for image, lengths in ((truth[k], true_gradients), (prediction[k], gradients)):
                lengths.append(np.hypot(image[down, w] - image[h, w], image[h, right] - image[h, w]))
            true_values.append(truth[k, h, w])
            values.append(prediction[k, h, w])
    assert scores['mask_ssim'] == pytest.approx(np.mean(ssim), abs=1e-5)
    assert scores['mask_cc'] == pytest.approx(stats.pearsonr(true_values, values).statistic, abs=1e-6)
    assert scores['sharpness'] == pytest.approx(np.mean(gradients) / np.mean(true_gradients), rel=1e-5)


def test_scores_without_contexts_do_not_depend_on_context_slices(volumes):
    truth, prediction = volumes
    changed = prediction.copy()
    changed[list(CONTEXTS)] = 0.5
    before, after = (metrics.score_volume(truth, volume, CONTEXTS).scores for volume in (prediction, changed))
    for name in before:
        assert (before[name] == after[name]) == (name not in ('ssim', 'cc', 'mse')), name


def test_score_volume_of_a_perfect_prediction(volumes):
    scores = metrics.score_volume(volumes[0], volumes[0], ()).scores
    for name, value in scores.items():
        assert value == pytest.approx(0.0 if name.startswith('mse') else 1.0), name


def test_undefined_scores_are_nan():
    nothing, something = np.zeros((3, 12, 12)), np.random.default_rng(0).random((3, 12, 12))
    empty = metrics.score_volume(nothing, something, (1,)).scores
    assert np.isnan([empty[name] for name in ('cc', 'mask_ssim', 'mask_cc', 'sharpness')]).all()
    assert metrics.score_volume(something, nothing, ()).scores['cc'] == 0
    assert np.isnan(metrics.score_volume(something, something, (0, 1, 2)).scores['ssim_no_contexts'])


@pytest.mark.parametrize('shape', [(3, 12, 13), (12, 12), (3, 10, 12)])
def test_score_volume_bad_shapes_name_the_arguments(shape):
    prediction = np.zeros((3, 12, 12)) if shape == (3, 12, 13) else np.zeros(shape)
    with pytest.raises(ValueError, match='`truth` and `prediction`'):
        metrics.score_volume(np.zeros(shape), prediction, ())


def test_average_scores_and_standard_errors_match_scipy():
    scores = [{'a': 1.0, 'b': np.nan}, {'a': 2.0, 'b': 4.0}, {'a': 6.0, 'b': 8.0}]
    assert metrics.average_scores(scores) == {'a': 3.0, 'b': 6.0}
    errors = metrics.standard_errors(scores)
    assert errors['a'] == pytest.approx(stats.sem([1, 2, 6]))
    assert errors['b'] == pytest.approx(stats.sem([4, 8]))
    assert np.isnan(metrics.standard_errors(scores[:1])['a'])


def test_with_psnr_is_that_of_the_average_error():
    averages = {'ssim': 0.5, 'mse': 0.01, 'mse_no_contexts': 0.0}
    values, errors = metrics.with_psnr(averages, {'ssim': 0.1, 'mse': 1e-5, 'mse_no_contexts': 0.0})
    assert values['psnr'] == pytest.approx(20)
    assert values['psnr_no_contexts'] == np.inf
    slope = (10 * np.log10(0.01 + 1e-5) - 10 * np.log10(0.01 - 1e-5)) / 2
    assert errors['psnr'] == pytest.approx(slope, rel=1e-4)
    assert values['ssim'] == 0.5
