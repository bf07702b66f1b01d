"""Output intensities: the scan's, the dataset's window, or those of a target."""

import pathlib

import numpy as np

from tfp_bruno.data import Stack, get_definition
from tfp_bruno.volumes.intensity import choose_scale

MEAN = np.array([[[0.0, 0.2, 0.4, 0.6]]])
MASK = MEAN > 0


def test_the_scale_of_the_scan_is_undone():
    stack = Stack(np.zeros((1, 1, 1)), np.eye(4), -1000.0, 1000.0, pathlib.Path('ct.nii'))
    scale = choose_scale('scan', stack, get_definition('thorax'), MEAN, MASK)
    np.testing.assert_allclose(scale.values(np.array([0.0, 0.5, 1.0])), [-1000, 0, 1000])
    np.testing.assert_allclose(scale.spread(np.array([0.0, 0.1])), [0, 200])
    assert scale.values(MEAN).dtype == np.float32


def test_a_target_has_background_0_and_foreground_mean_700():
    stack = Stack(np.zeros((1, 1, 1)), np.eye(4), -1000.0, 1000.0, pathlib.Path('ct.nii'))
    values = choose_scale('target', stack, get_definition('thorax'), MEAN, MASK).values(MEAN)
    assert values[0, 0, 0] == 0
    np.testing.assert_allclose(values[MASK].mean(), 700, rtol=1e-6)


def test_without_a_scan():
    thorax = choose_scale('scan', None, get_definition('thorax'), MEAN, MASK)
    assert (thorax.low, thorax.high) == (-1000, 1000)
    fetal = choose_scale('scan', None, get_definition('fetal'), MEAN, MASK)
    np.testing.assert_allclose(fetal.values(MEAN)[MASK].mean(), 700, rtol=1e-6)
