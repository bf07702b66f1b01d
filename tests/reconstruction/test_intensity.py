"""The foreground, and the intensities of scan, window or target."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.data import get_definition
from tfp_bruno.reconstruction.intensity import choose_scale, foreground_mask

FETAL, THORAX = get_definition('fetal'), get_definition('thorax')
MEAN = np.array([[[0.0, 0.2, 0.4, 0.6]]])
MASK = MEAN > 0


def test_scan_scale_restores_the_intensities_of_the_scan():
    scale = choose_scale('scan', (0.0, 800.0), FETAL, MEAN, MASK)
    np.testing.assert_allclose(scale.values(np.array([0.0, 0.5, 1.0])), [0, 400, 800])
    np.testing.assert_allclose(scale.spread(np.array([0.0, 0.1])), [0, 80])
    assert scale.values(MEAN).dtype == np.float32
    # Bit for bit, also above the intensity that became 1.
    raw = np.random.default_rng(0).uniform(0, 1e4, 1000).astype(np.float32)
    np.testing.assert_array_equal(scale.of_scan(raw, (0.0, 800.0)), raw)


def test_scan_scale_of_ct_shifts_the_background_to_0_and_records_the_offset():
    hounsfield = np.array([-1000.0, -200.0, 40.0, 1500.0], np.float32)
    for intensities in ((-1000.0, 1000.0), None):
        scale = choose_scale('scan', intensities, THORAX, MEAN, MASK)
        assert scale.low == 0
        np.testing.assert_allclose(scale.values((hounsfield[:3] + 1000) / 2000), [0, 800, 1040])
        np.testing.assert_allclose(scale.of_scan(hounsfield, (-1000.0, 1000.0)) + scale.offset, hounsfield)


def test_hounsfield_scale_is_that_of_the_window():
    scale = choose_scale('hounsfield', (-1000.0, 1000.0), THORAX, MEAN, MASK)
    np.testing.assert_allclose(scale.values(np.array([0.0, 0.52, 1.0])), [-1000, 40, 1000])
    np.testing.assert_allclose(scale.spread(np.array([0.1])), [200])


@pytest.mark.parametrize('definition', [FETAL, THORAX])
def test_target_scale_has_background_0_and_foreground_mean_700(definition):
    scale = choose_scale('target', (-1000.0, 1000.0), definition, MEAN, MASK)
    values = scale.values(MEAN)
    assert values[0, 0, 0] == 0
    np.testing.assert_allclose(values[MASK].mean(), 700, rtol=1e-6)
    # A given slice is brought to the same scale.
    raw = -1000 + MEAN[MASK] * 2000
    np.testing.assert_allclose(scale.of_scan(raw, (-1000.0, 1000.0)), values[MASK], rtol=1e-5)


def test_scan_scale_without_a_scan_is_the_target_scale():
    np.testing.assert_allclose(choose_scale('scan', None, FETAL, MEAN, MASK).values(MEAN)[MASK].mean(), 700, rtol=1e-6)


def test_foreground_mask_is_the_largest_part_with_its_holes_filled():
    data = np.zeros((20, 20, 20))
    data[3:12, 3:12, 3:12] = 0.5
    expected = data > 0
    data[6:8, 6:8, 6:8] = 0
    data[15:18, 15:18, 15:18] = 1.0
    data[3, 3, 14] = 0.01
    np.testing.assert_array_equal(foreground_mask(data), expected)


def test_foreground_mask_is_empty_at_the_threshold():
    assert not foreground_mask(np.full((4, 4, 4), 0.02)).any()


@pytest.mark.parametrize('seed', range(5))
def test_foreground_mask_matches_scipy(seed):
    # Anatomy with noise, so that there are holes of every size, some of them open to the border.
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(30, 34, 28)), 1.2)
    data = np.where(noise > -0.03, 0.5, 0.0)
    labels, _ = ndimage.label(data > 0.02)
    largest = labels == np.bincount(labels[labels > 0]).argmax()
    filled = ndimage.binary_fill_holes(largest)
    assert filled.sum() > largest.sum()
    np.testing.assert_array_equal(foreground_mask(data), filled)
