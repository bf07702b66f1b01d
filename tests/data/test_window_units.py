"""CT in Hounsfield units is accepted, CT in other units is refused."""

import dataclasses
import pathlib

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.data import extract_stack, get_definition
from tfp_bruno.data.nifti import Volume
from tfp_bruno.errors import UserError, collect_warnings

THORAX = get_definition('thorax')
PATH = pathlib.Path('scan.nii.gz')
AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])


@pytest.fixture(scope='module')
def chest():
    """A chest in Hounsfield units: air, fat, muscle, lungs and a spine, with noise."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in (48, 40, 30)], indexing='ij')
    data = np.full(x.shape, -1000.0)
    radius = x**2 + (1.4 * y) ** 2
    data[radius < 0.8] = -100
    data[radius < 0.7] = 50
    data[((abs(x) - 0.4) / 0.25) ** 2 + (y / 0.4) ** 2 < 1] = -850
    data[x**2 + (y - 0.5) ** 2 < 0.01] = 600
    noise = np.random.default_rng(0).normal(0, 12, data.shape)
    return np.clip(np.round(data + noise), -1024, 3071).astype(np.float32)


def extract(data, definition=THORAX, mask=None):
    with collect_warnings() as warnings:
        stack = extract_stack(Volume(data.astype(np.float32), AFFINE, PATH), definition, mask)
    return stack, warnings


def padded(data):
    """Fills the corners as a scanner does that measures a cylinder."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in data.shape], indexing='ij')
    return np.where(x**2 + y**2 < 1, data, -3024)


WINDOWS = {
    'thorax': THORAX,
    'abdomen': dataclasses.replace(THORAX, name='abdomen', window=(-200.0, 300.0)),
    'soft tissue': dataclasses.replace(THORAX, name='soft', window=(-125.0, 225.0)),
}
GOOD = {
    'plain': lambda hu: hu,
    'padded': padded,
    'clipped': lambda hu: np.clip(hu, -1000, 400),
    'resampled': lambda hu: ndimage.zoom(hu, 0.8, order=3),
    'background of a mask': lambda hu: np.where(hu > -300, hu, -1000),
    'cropped to the body': lambda hu: hu[10:38, 6:34],
}
BAD = {
    'shifted': lambda hu: np.clip(hu + 1024, 0, None).astype('uint16'),
    'shifted by 1000': lambda hu: hu + 1000,
    'shifted and padded': lambda hu: np.where(padded(hu) == -3024, -2000, np.clip(hu + 1024, 0, None)),
    'shifted and resampled': lambda hu: ndimage.zoom(np.clip(hu + 1024, 0, None), 0.8, order=3),
    'scaled to 1': lambda hu: (hu + 1024) / 4095,
    'scaled to 255': lambda hu: np.round(np.clip((hu + 1000) / 2000, 0, 1) * 255).astype('uint8'),
    'z-scored': lambda hu: (hu - hu.mean()) / hu.std(),
    'background 0': lambda hu: np.where(ndimage.binary_fill_holes(hu > -300), hu, 0),
}


@pytest.mark.parametrize('window', WINDOWS)
@pytest.mark.parametrize('case', GOOD)
def test_check_window_units_accepts_hounsfield_units_without_warning(chest, case, window):
    stack, warnings = extract(GOOD[case](chest), WINDOWS[window])
    assert warnings == []
    assert (stack.intensity_low, stack.intensity_high) == WINDOWS[window].window


@pytest.mark.parametrize('window', WINDOWS)
@pytest.mark.parametrize('case', BAD)
def test_check_window_units_refuses_other_units(chest, case, window):
    with pytest.raises(UserError) as caught:
        extract(BAD[case](chest), WINDOWS[window])
    message = str(caught.value)
    assert message.startswith('scan.nii.gz: has ')
    assert f'the window of {WINDOWS[window].name}' in message
    assert '\n' not in message


def test_check_window_units_names_findings_and_remedy(chest):
    shifted = BAD['shifted'](chest)
    white = np.mean(shifted >= 1000)
    with pytest.raises(UserError) as caught:
        extract(shifted)
    for words in (f'from 0 to {shifted.max()}', f'{white:.0%} of it white', 'slope and intercept', 'subtract 1024'):
        assert words in str(caught.value)


def test_check_window_units_warns_of_possible_units(chest):
    heart = np.full(chest.shape, -3024.0, np.float32)
    heart[20:28, 10:20, 10:20] = np.random.default_rng(0).normal(60, 15, (8, 10, 10))
    assert 'if it is not a masked or cropped scan' in extract(heart)[1][0]
    lungs = np.where(chest < -700, chest, -1000)
    assert 'has no soft tissue' in extract(lungs)[1][0]
    # The intercept applied twice.
    assert 'has no soft tissue' in extract(chest - 1024)[1][0]


def test_check_window_units_ignores_the_background_outside_a_mask(chest):
    body = ndimage.binary_fill_holes(chest > -300)
    stack, warnings = extract(np.where(body, chest, 0), mask=body)
    assert warnings == []
    np.testing.assert_array_equal(stack.images, extract(np.where(body, chest, -1000))[0].images)
    with pytest.raises(UserError, match='has neither air nor fat'):
        extract(BAD['shifted'](chest), mask=body)


def test_check_window_units_checks_windows_in_other_units():
    ramp = np.linspace(0, 1, 24 * 24 * 24, dtype=np.float32).reshape(24, 24, 24)
    ramp[[0, -1]] = ramp[:, [0, -1]] = ramp[:, :, [0, -1]] = 0
    unit = dataclasses.replace(THORAX, name='map', window=(0.0, 1.0))
    stack, warnings = extract(ramp, unit)
    assert warnings == []
    assert stack.images.max() > 0.7
    brain = dataclasses.replace(THORAX, name='head', window=(0.0, 80.0))
    for data, words in ((ramp, 'next to no contrast'), (ramp * 500 + 1000 * (ramp > 0), 'black and white only')):
        with pytest.raises(UserError, match=f'has {words}|is {words}'):
            extract(data, brain)
    with pytest.raises(UserError, match='no voxel above 0'):
        extract(ramp - 2, brain)
