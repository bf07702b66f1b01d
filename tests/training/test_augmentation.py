"""Augmented volumes: their invariants, and the size of every change in its unit."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfp_bruno.training import AugmentationSettings
from tfp_bruno.training.augmentation import augment_slices

SHAPE = (20, 24, 28)
SPACING = (4.0, 2.0, 1.0)
NOTHING = AugmentationSettings(1.0, displacement=0.0, scaling=0.0, shear=0.0, shift=0.0, contrast=0.0, bias=0.0)
ALL = tf.range(SHAPE[0])


def augment(volume, settings, seed, slices=ALL):
    return augment_slices(tf.constant(volume), slices, SPACING, settings, tf.constant([seed, 1])).numpy()


def augment_often(volume, settings, count):
    """Augments a volume with many seeds, `[count, K, H, W]`."""
    augmented = tf.function(lambda seed: augment_slices(tf.constant(volume), ALL, SPACING, settings, seed))
    return np.stack([augmented(tf.constant([seed, 7])).numpy() for seed in range(count)])


@pytest.fixture(scope='module')
def noise():
    """Smooth random intensities over the whole of [0, 1]."""
    values = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.5)
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


@pytest.fixture(scope='module')
def blob():
    """A Gaussian blob of 6 mm in the middle of the volume."""
    grid = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SPACING, strict=True)], indexing='ij')
    return np.exp(-sum(axis**2 for axis in grid) / (2 * 4.0**2)).astype(np.float32)


def test_zero_strength_leaves_the_slices_unchanged(noise):
    slices = tf.constant([3, 0, 19, 11])
    np.testing.assert_allclose(augment(noise, NOTHING, 3, slices), noise[slices.numpy()], atol=3e-3)
    # All but the last slice, row and column sit exactly on the grid.
    np.testing.assert_allclose(augment(noise, NOTHING, 3)[:-1, :-1, :-1], noise[:-1, :-1, :-1], atol=1e-5)


def test_seed_determines_the_augmentation(noise):
    strong = AugmentationSettings(probability=1.0)
    np.testing.assert_array_equal(augment(noise, strong, 5), augment(noise, strong, 5))
    assert np.abs(augment(noise, strong, 5) - augment(noise, strong, 6)).mean() > 0.01


def test_subset_of_slices_shows_the_same_subject(noise):
    strong = AugmentationSettings(probability=1.0, displacement=6.0, scaling=0.1, shear=0.1, contrast=0.3, bias=0.2)
    slices = tf.constant([17, 2, 9])
    np.testing.assert_allclose(augment(noise, strong, 4, slices), augment(noise, strong, 4)[slices.numpy()], atol=2e-5)


@pytest.mark.slow
def test_intensities_stay_in_range(noise):
    wild = AugmentationSettings(1.0, 20.0, 10.0, scaling=0.5, shear=0.5, shift=20.0, contrast=1.0, bias=1.0)
    augmented = augment_often(noise, wild, 10)
    assert np.isfinite(augmented).all()
    assert augmented.min() >= 0.0
    assert augmented.max() <= 1.0


@pytest.mark.slow
def test_shift_is_in_millimetres_along_every_axis(blob):
    shifted = augment_often(blob, dataclasses.replace(NOTHING, shift=2.0), 150)
    twice = augment_often(blob, dataclasses.replace(NOTHING, shift=4.0), 3)
    middle = (np.array(SHAPE) - 1) / 2
    moved = (np.array([ndimage.center_of_mass(image) for image in shifted]) - middle) * SPACING
    # 150 draws determine a standard deviation within 6 %, and a mean within 0.16 mm.
    np.testing.assert_allclose(moved.std(0), 2.0, rtol=0.2)
    np.testing.assert_allclose(moved.mean(0), 0.0, atol=0.6)
    moved_twice = (np.array([ndimage.center_of_mass(image) for image in twice]) - middle) * SPACING
    np.testing.assert_allclose(moved_twice, 2.0 * moved[:3], atol=0.35)
    # Shifted, not blurred.
    np.testing.assert_allclose(shifted.sum((1, 2, 3)), blob.sum(), rtol=0.02)


@pytest.mark.slow
def test_displacement_has_its_size_and_length_scale():
    ramp = np.broadcast_to((np.arange(SHAPE[0], dtype=np.float32) / (SHAPE[0] - 1))[:, None, None], SHAPE)
    settings = dataclasses.replace(NOTHING, displacement=3.0, length=10.0)
    # In the middle of a ramp along k, the change of intensity is the displacement along k.
    moved = (augment_often(ramp.copy(), settings, 300) - ramp)[:, 10, :, 14] * (SHAPE[0] - 1) * SPACING[0]
    assert moved[:, 12].std() == pytest.approx(3.0, rel=0.15)
    distance = 7 * SPACING[1]
    correlation = np.corrcoef(moved[:, 8], moved[:, 15])[0, 1]
    assert correlation == pytest.approx(np.exp(-(distance**2) / (2 * settings.length**2)), abs=0.15)


def test_contrast_is_an_exponent(noise):
    augmented = augment(noise, dataclasses.replace(NOTHING, contrast=0.5), 2)[:-1, :-1, :-1]
    kept = noise[:-1, :-1, :-1]
    middle = (kept > 0.1) & (kept < 0.9)
    exponents = np.log(augmented[middle]) / np.log(kept[middle])
    np.testing.assert_allclose(exponents, exponents.mean(), rtol=1e-3)
    assert abs(np.log(exponents.mean())) > 0.01
