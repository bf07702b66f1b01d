"""Output intensities: the scan's, the dataset's window, or those of a target."""

import numpy as np
import pytest

from tfp_bruno.data import get_definition
from tfp_bruno.reconstruction.intensity import choose_scale

FETAL, THORAX = get_definition('fetal'), get_definition('thorax')
MEAN = np.array([[[0.0, 0.2, 0.4, 0.6]]])
MASK = MEAN > 0


def test_the_scale_of_the_scan_is_undone():
    scale = choose_scale('scan', (0.0, 800.0), FETAL, MEAN, MASK)
    np.testing.assert_allclose(scale.values(np.array([0.0, 0.5, 1.0])), [0, 400, 800])
    np.testing.assert_allclose(scale.spread(np.array([0.0, 0.1])), [0, 80])
    assert scale.values(MEAN).dtype == np.float32
    # Bit for bit, brighter than the brightest that the model knows, too.
    raw = np.random.default_rng(0).uniform(0, 1e4, 1000).astype(np.float32)
    np.testing.assert_array_equal(scale.of_scan(raw, (0.0, 800.0)), raw)


def test_a_ct_is_shifted_so_that_its_background_is_zero_and_the_shift_is_known():
    hounsfield = np.array([-1000.0, -200.0, 40.0, 1500.0], np.float32)
    for intensities in ((-1000.0, 1000.0), None):
        scale = choose_scale('scan', intensities, THORAX, MEAN, MASK)
        assert scale.low == 0
        np.testing.assert_allclose(scale.values((hounsfield[:3] + 1000) / 2000), [0, 800, 1040])
        np.testing.assert_allclose(scale.of_scan(hounsfield, (-1000.0, 1000.0)) + scale.offset, hounsfield)


def test_hounsfield_units_as_they_are():
    scale = choose_scale('hounsfield', (-1000.0, 1000.0), THORAX, MEAN, MASK)
    np.testing.assert_allclose(scale.values(np.array([0.0, 0.52, 1.0])), [-1000, 40, 1000])
    np.testing.assert_allclose(scale.spread(np.array([0.1])), [200])


@pytest.mark.parametrize('definition', [FETAL, THORAX])
def test_a_target_has_background_0_and_foreground_mean_700(definition):
    scale = choose_scale('target', (-1000.0, 1000.0), definition, MEAN, MASK)
    values = scale.values(MEAN)
    assert values[0, 0, 0] == 0
    np.testing.assert_allclose(values[MASK].mean(), 700, rtol=1e-6)
    # A given slice is brought to the same scale.
    raw = -1000 + MEAN[MASK] * 2000
    np.testing.assert_allclose(scale.of_scan(raw, (-1000.0, 1000.0)), values[MASK], rtol=1e-5)


def test_without_a_scan():
    np.testing.assert_allclose(choose_scale('scan', None, FETAL, MEAN, MASK).values(MEAN)[MASK].mean(), 700, rtol=1e-6)
