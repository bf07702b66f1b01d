"""Power in octaves against Parseval's theorem, the transfer function of a filter, and waves of known length."""

import numpy as np
import pytest

from tfp_bruno.evaluation.power_spectrum import log_ratios, make_taper, octave_names, octave_power

SHAPE = (6, 64, 64)


@pytest.fixture(scope='module')
def truth():
    """White noise on a disc."""
    y, x = np.indices(SHAPE[1:])
    disc = np.hypot(y - 31, x - 32) < 25
    return (disc * np.random.default_rng(0).uniform(0.3, 0.7, SHAPE)).astype(np.float32)


def test_octaves_end_at_the_largest_power_of_two_in_the_image():
    assert octave_names((64, 80)) == ['2-4', '4-8', '8-16', '16-32', '32-64']
    assert octave_names((48, 48)) == ['2-4', '4-8', '8-16', '16-32']


@pytest.mark.parametrize(('wavelength', 'octave'), [(2, 0), (3.2, 0), (4, 1), (8, 2), (16, 3), (32, 4), (64, None)])
def test_power_of_a_wave_is_in_the_octave_of_its_length(wavelength, octave):
    wave = np.cos(2 * np.pi * np.arange(64) / wavelength)
    for images in (np.tile(wave, (1, 64, 1)), np.tile(wave[:, None], (1, 1, 64))):
        power = octave_power(images, np.ones_like(images))
        expected = np.zeros(5)
        if octave is not None:
            # Parseval: the sum of squares times the number of pixels.
            expected[octave] = np.square(wave).sum() * 64 * 64**2
        np.testing.assert_allclose(power, expected, atol=1e-6 * 64**4)


def test_taper_is_one_inside_and_falls_to_the_border():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 4:16, 4:] = True
    taper = make_taper(mask)[0]
    np.testing.assert_allclose(taper[10, 3:9], [0, *np.sin(np.pi / 8 * np.arange(1, 5)) ** 2, 1], atol=1e-6)
    assert taper[10, -1] == 1


def test_ratio_of_another_draw_is_one_and_of_half_the_contrast_a_quarter(truth):
    rng = np.random.default_rng(1)
    draws = np.where(truth > 0, rng.uniform(0.3, 0.7, (20, *SHAPE)), 0)
    found = log_ratios(truth, {'draws': draws, 'half': 0.5 + 0.5 * truth[None]}, [2])
    # About 1000 independent frequencies are in the octave of 4 to 8 pixels, 60 in that of 16 to 32.
    for octave, tolerance in (('2-4', 0.03), ('4-8', 0.05), ('8-16', 0.15), ('16-32', 0.25)):
        assert found['draws'][octave] == pytest.approx(0, abs=tolerance)
    for value in found['half'].values():
        assert value == pytest.approx(np.log(0.25), abs=1e-4)


def test_ratio_of_a_smoothed_image_is_the_transfer_function(truth):
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing='ij'))
    # A factor of 0.6 at wavelengths below 8 pixels, 1 above, so of 0.36 in power.
    factor = np.where(frequencies > 1 / 8, 0.6, 1.0)
    images = np.random.default_rng(2).uniform(0.3, 0.7, SHAPE)
    smoothed = np.fft.ifft2(factor * np.fft.fft2(images)).real
    found = log_ratios(images, {'smoothed': smoothed[None]}, [])['smoothed']
    np.testing.assert_allclose(
        [found[name] for name in ('2-4', '4-8', '16-32', '32-64')], [2 * np.log(0.6)] * 2 + [0, 0], atol=0.05
    )


def test_contexts_and_background_do_not_count(truth):
    changed = truth.copy()
    changed[2] = 0.9
    changed[truth == 0] = 0.3
    assert log_ratios(truth, {'changed': changed[None]}, [2])['changed'] == pytest.approx(
        dict.fromkeys(octave_names(SHAPE[1:]), 0.0), abs=1e-5
    )


def test_ratios_of_nothing_are_nan(truth):
    found = log_ratios(np.zeros(SHAPE), {'mean': truth[None]}, [])['mean']
    assert list(found) == octave_names(SHAPE[1:])
    assert np.isnan(list(found.values())).all()


def test_a_constant_volume_has_no_power(truth):
    found = log_ratios(truth, {'mean': np.full((1, *SHAPE), 0.5)}, [])['mean']
    np.testing.assert_array_less(list(found.values()), -20)
