"""Black is the background, whatever its value; if it cannot be determined, that is an error."""

import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from scipy import ndimage

from tfp_bruno.data import extract_stack, get_definition
from tfp_bruno.data.intensity_range import intensity_range
from tfp_bruno.data.nifti import Volume
from tfp_bruno.errors import UserError, collect_warnings

FETAL = get_definition('fetal')
PATH = pathlib.Path('scan.nii.gz')
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


@pytest.fixture(scope='module')
def brain():
    """A masked brain, `[40, 44, 36]`: textured, 100 to 800 inside an ellipsoid, exactly 0 outside."""
    rng = np.random.default_rng(0)
    texture = ndimage.zoom(rng.uniform(100, 800, (10, 11, 9)), 4, order=1)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in texture.shape], indexing='ij')
    inside = sum(axis**2 for axis in axes) < 0.7
    return np.where(inside, texture, 0).astype(np.float32)


def stack_of(data, mask=None):
    with collect_warnings() as warnings:
        stack = extract_stack(Volume(data.astype(np.float32), AFFINE, PATH), FETAL, mask)
    return stack, warnings


def range_of(data, mask=None):
    return intensity_range([data.astype(np.float32)], [mask], FETAL, PATH)


@hypothesis.given(strategies.floats(0.01, 1e4), strategies.floats(-1e4, 1e4), strategies.booleans())
@hypothesis.settings(max_examples=15, deadline=None)
def test_stack_is_invariant_to_scale_and_shift_of_intensities(brain, scale, shift, is_masked):
    hypothesis.assume(abs(shift) < 100 * scale or shift == 0)
    mask = brain > 0 if is_masked else None
    plain, _ = stack_of(brain, mask)
    other, warnings = stack_of(brain * np.float32(scale) + np.float32(shift), mask)
    np.testing.assert_allclose(other.images, plain.images, atol=1e-4)
    assert other.intensity_low == pytest.approx(shift, rel=1e-6)
    assert other.intensity_high - other.intensity_low == pytest.approx(scale * plain.intensity_high, rel=1e-3)
    assert bool(warnings) == (np.float32(shift) != 0)


def test_intensity_range_of_background_0_is_the_percentile_of_nonzero_voxels(brain):
    expected = np.percentile(brain[brain != 0], 99.5)
    assert range_of(brain) == (0.0, expected)
    # The faint tails of a smoothed brain are the anatomy's, however many they are.
    smooth = ndimage.gaussian_filter(brain, 2)
    assert range_of(smooth) == (0.0, np.percentile(smooth[smooth != 0], 99.5))
    inside = brain > 300
    assert range_of(brain, inside) == (0.0, np.percentile(brain[inside], 99.5))


def test_intensity_range_of_unmasked_scan_starts_at_0():
    scan = np.random.default_rng(0).rayleigh(30, (30, 30, 30)).astype(np.float32)
    scan[8:22, 8:22, 8:22] += 500
    assert range_of(scan) == (0.0, np.percentile(scan, 99.5))


@pytest.mark.parametrize('amplitude', [1e-6, 1e-3, 0.5])
@pytest.mark.parametrize('kind', ['both signs', 'positive', 'padded'])
def test_intensity_range_ignores_noise_of_the_background(brain, amplitude, kind):
    noise = np.random.default_rng(1).uniform(-amplitude, amplitude, brain.shape)
    noisy = brain + (abs(noise) if kind == 'positive' else noise)
    if kind == 'padded':
        noisy[:, :, [0, 1, -2, -1]] = 0
        noisy[:2] = noisy[-2:] = noisy[:, :2] = noisy[:, -2:] = 0
    low, high = range_of(noisy)
    assert low == 0
    assert high == pytest.approx(range_of(brain)[1], rel=1e-4, abs=1.1 * amplitude)


def test_intensity_range_clips_ringing_of_a_spline(brain):
    fine = ndimage.zoom(ndimage.gaussian_filter(brain, 0.7), 1.3, order=3)
    assert fine.min() < 0
    stack, warnings = stack_of(fine)
    assert warnings == []
    assert stack.intensity_low == 0
    # Its small numbers, everywhere in the background, do not move the percentile.
    assert stack.intensity_high == pytest.approx(np.percentile(fine[fine > 5], 99.5), rel=1e-2)


def test_intensity_range_refuses_a_z_scored_brain_without_mask_or_lowest_background(brain):
    inside = brain > 0
    z_scored = (brain - brain[inside].mean()) / brain[inside].std()
    for background in (0.0, 0.5, -0.3):
        hidden = np.where(inside, z_scored, background)
        with pytest.raises(
            UserError, match=r'scan\.nii\.gz: .*below .* so what is black is unknown; shift the'
        ) as caught:
            range_of(hidden)
        assert '\n' not in str(caught.value)
        stack, warnings = stack_of(hidden, inside)
        assert np.corrcoef(stack.images.ravel(), stack_of(brain)[0].images.ravel())[0, 1] > 0.98
        assert any('that of the darkest voxels inside its mask, is used as black' in line for line in warnings)
        assert stack.intensity_low == pytest.approx(np.percentile(z_scored[inside], 0.5), rel=1e-4)
    np.testing.assert_allclose(stack_of(z_scored)[0].images, stack_of(brain)[0].images, atol=1e-4)


def test_intensity_range_refuses_negative_values_without_constant_background():
    scan = np.random.default_rng(0).normal(0, 1, (20, 20, 20))
    with pytest.raises(UserError, match='has no constant background along its edges, but'):
        range_of(scan)
    with pytest.raises(UserError, match='has no constant background along its edges, but'):
        range_of(-np.arange(60.0).reshape(3, 4, 5))


def test_intensity_range_warns_of_integer_overflow(brain):
    wrapped = brain.copy()
    wrapped[20, 20, 10:18] = -32000
    assert any('8 voxels are far below black, 0: down to -32000' in line for line in stack_of(wrapped)[1])


def test_intensity_range_warns_of_a_shift_without_constant_background(brain):
    scan = brain + np.random.default_rng(0).rayleigh(30, brain.shape).astype(np.float32)
    for mask in (None, brain > 0):
        assert stack_of(scan, mask)[1] == []
        (warning,) = stack_of(scan + 2000, mask)[1]
        assert 'has nothing between black, 0, and 2' in warning


def test_intensity_range_refuses_nothing_above_the_background(brain):
    with pytest.raises(UserError, match='has no intensities above its background, 0'):
        range_of(brain * np.float32(1e-42))


def test_intensity_range_of_slices_has_a_common_background(brain):
    slices = [brain[:, :, k : k + 1] - np.float32(0.5) for k in (10, 18, 25)]
    low, high = intensity_range(slices, [None] * 3, FETAL, PATH)
    values = np.concatenate([image.ravel() for image in slices])
    assert low == -0.5
    assert high == pytest.approx(np.percentile(values[values != -0.5], 99.5))
