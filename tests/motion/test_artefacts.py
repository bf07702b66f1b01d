"""Noise, bias and loss of signal."""

import numpy as np
import pytest

from tfp_bruno.errors import UserError
from tfp_bruno.motion.artefacts import ArtefactSettings, bias_field, spoil

DATA = np.full((40, 50, 60), 2.0, np.float32)


def spoiled(data, seed=0, **settings):
    return spoil(data, 2.0, ArtefactSettings(**settings), np.random.default_rng(seed))


def test_spoil_without_artefacts_changes_nothing():
    np.testing.assert_array_equal(spoiled(DATA), DATA)


def test_spoil_noise_is_rician():
    # Where there is no signal, the magnitude has a Rayleigh distribution.
    background = spoiled(np.zeros_like(DATA), noise=0.1)
    np.testing.assert_allclose(background.mean(), 0.2 * np.sqrt(np.pi / 2), rtol=0.01)
    np.testing.assert_allclose(spoiled(DATA, noise=0.05).std(), 0.1, rtol=0.02)


def test_spoil_dropout_darkens_its_share_of_the_slices():
    ratio = spoiled(np.repeat(DATA, 10, axis=2), dropout=0.3) / 2.0
    darkened = ratio.min(axis=(0, 1)) < 0.95
    assert 0.25 < darkened.mean() < 0.35
    assert ratio.min() >= 0.1 - 1e-6 and ratio.max() <= 1.0


def test_bias_field_reaches_its_strength_and_is_smooth():
    field = bias_field((40, 50, 60), 0.3, np.random.default_rng(0))
    np.testing.assert_allclose(np.abs(field - 1).max(), 0.3, rtol=1e-5)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.05


def test_spoil_same_seed_same_artefacts_whatever_else_is_added():
    both, alone = spoiled(DATA, bias=0.2, noise=0.02), spoiled(DATA, bias=0.2)
    np.testing.assert_array_equal(both, spoiled(DATA, bias=0.2, noise=0.02))
    assert np.corrcoef(both.ravel(), alone.ravel())[0, 1] > 0.5
    assert not np.array_equal(both, spoiled(DATA, seed=1, bias=0.2, noise=0.02))


@pytest.mark.parametrize('name', ['noise', 'bias', 'dropout'])
def test_artefacts_bad_value_is_named(name):
    with pytest.raises(UserError, match=f'{name}=-1'):
        ArtefactSettings(**{name: -1.0})
