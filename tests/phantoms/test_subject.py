"""Measurements of the anatomies of single subjects."""

import functools
import pathlib

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.data import get_definition
from tfp_bruno.data.intensity_range import intensity_range
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.phantoms import brain, fetal, make_subject
from tfp_bruno.phantoms.subject import generate

SLOW = pytest.mark.slow
DATASETS = ('fetal', pytest.param('adni', marks=SLOW), pytest.param('thorax', marks=SLOW))
cached = functools.lru_cache(maxsize=None)(generate)


def _fetus(low, high):
    """Returns the first fetus of an age in this range, weeks."""
    ages = ((seed, fetal.draw_age(np.random.default_rng(seed))) for seed in range(1000))
    return cached('fetal', next(seed for seed, age in ages if low <= age <= high))


@pytest.mark.parametrize('dataset', DATASETS)
def test_subject_is_one_body_in_a_plain_volume(dataset):
    subject = cached(dataset, 1)
    image, mask = subject.image, subject.mask
    assert image.dtype == np.float32 and mask.dtype == bool and image.shape == mask.shape
    assert np.all(np.isfinite(image))
    np.testing.assert_array_equal(image[~mask], -1000.0 if dataset == 'thorax' else 0.0)
    np.testing.assert_array_equal(subject.affine[:3, :3], np.eye(3))
    centre = (np.array(image.shape) - 1) / 2.0
    np.testing.assert_allclose(subject.affine @ [*centre, 1.0], [0.0, 0.0, 0.0, 1.0])
    # One connected body, and nothing cut off in plane.
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    assert count == 1 or sizes.max() > 0.99 * sizes.sum()
    assert not mask[0].any() and not mask[-1].any() and not mask[:, 0].any() and not mask[:, -1].any()


@pytest.mark.parametrize('dataset', DATASETS)
def test_intensities_are_read_without_warnings(dataset):
    subject = cached(dataset, 1)
    with collect_warnings() as warnings:
        low, high = intensity_range([subject.image], [None], get_definition(dataset), pathlib.Path('subject.nii'))
    assert warnings == []
    present = subject.image[subject.image != 0]
    assert (low, high) == ((-1000, 1000) if dataset == 'thorax' else (0, np.percentile(present, 99.5)))


def test_same_seed_same_subject():
    first, again = generate('fetal', 7), make_subject('fetal', 7)
    np.testing.assert_array_equal(first.image, again[0])
    np.testing.assert_array_equal(first.mask, again[1])
    np.testing.assert_array_equal(first.affine, again[2])


@pytest.mark.parametrize('dataset', ['fetal', pytest.param('thorax', marks=SLOW)])
def test_subjects_differ_in_anatomy_not_in_noise(dataset):
    first, second = (cached(dataset, seed) for seed in (1, 2))
    overlap = 2.0 * np.sum(first.mask & second.mask) / (first.mask.sum() + second.mask.sum())
    assert 0.5 < overlap < 0.97
    both = first.mask & second.mask
    # Differences that survive blurring are not noise.
    blurred = [ndimage.gaussian_filter(subject.image, 3.0)[both] for subject in (first, second)]
    assert np.corrcoef(*blurred)[0, 1] < 0.9
    # Within a subject there is no noise: neighbouring voxels hardly differ.
    steps = np.abs(np.diff(first.image, axis=2))[first.mask[..., 1:]]
    span = np.subtract(*np.percentile(first.image[first.mask], [98, 2]))
    assert np.median(steps) < 0.04 * span


def _folding_index(age):
    """Returns the surface between cortex and white matter, divided by its volume to the power 2/3."""
    shape = fetal.draw_shape(age, np.random.default_rng(0))
    axes = np.meshgrid(*(np.arange(-48.0, 49.0, 1.5, dtype=np.float32),) * 3, indexing='ij')
    distance = brain.signed_distances([axis.ravel() for axis in axes], shape)['cerebrum'].reshape(axes[0].shape)
    white = distance < -shape.cortex
    faces = sum(np.sum(np.diff(white.astype(np.int8), axis=axis) != 0) for axis in range(3))
    return faces / white.sum() ** (2.0 / 3.0)


@pytest.mark.slow
def test_fetal_brain_grows_with_age():
    volumes = [_fetus(*ages).mask.sum() / 1000.0 for ages in ((22.5, 23.5), (28.5, 29.5), (36.0, 37.5))]
    # Millilitres, as in atlases of the fetal brain: about 110, 260 and 440.
    assert 70 < volumes[0] < 160 < volumes[1] < 340 < volumes[2] < 560


def test_fetal_cortex_folds_with_age():
    indices = [_folding_index(age) for age in (22.0, 27.0, 32.0, 37.0)]
    assert indices == sorted(indices)
    assert indices[-1] > 1.5 * indices[0]


def test_fetal_contrast():
    image = _fetus(28.5, 29.5).image
    inside = image[ndimage.binary_erosion(image > 0.0, iterations=5)]
    # T2: fluid bright, the white matter of the fetus in between, cortex darkest.
    assert np.mean(inside > 0.8) > 0.02
    assert np.percentile(inside, 50) == pytest.approx(0.57, abs=0.08)
    assert np.percentile(inside, 2) == pytest.approx(0.42, abs=0.08)


@SLOW
def test_adult_contrast():
    subject = cached('adni', 1)
    inside = subject.image[ndimage.binary_erosion(subject.mask, iterations=8)]
    # T1: white matter bright, cortex in between, ventricles dark.
    assert np.percentile(inside, 95) == pytest.approx(0.87, abs=0.08)
    assert np.mean((inside > 0.45) & (inside < 0.65)) > 0.1
    assert np.mean(inside < 0.3) > 0.01
    assert 1000 < subject.mask.sum() / 1000 < 2100
    assert 55.0 <= subject.facts['age'] <= 90.0 and 0.0 <= subject.facts['atrophy'] <= 1.0


@SLOW
def test_thorax_hounsfield_units():
    subject = cached('thorax', 1)
    inside = subject.image[subject.mask]
    share = {
        'lung': np.mean((inside > -900) & (inside < -650)),
        'fat': np.mean((inside > -130) & (inside < -70)),
        'soft': np.mean((inside > 20) & (inside < 200)),
        'bone': np.mean(inside > 250),
    }
    assert 0.08 < share['lung'] < 0.45
    assert 0.03 < share['fat'] < 0.35
    assert 0.25 < share['soft'] < 0.7
    assert 0.02 < share['bone'] < 0.15
    assert inside.min() >= -1000.0 and 500.0 < inside.max() <= 1000.0
    # Air inside the body is the airways (and the stomach), not the lungs.
    assert 0.0005 < np.mean(ndimage.binary_erosion(subject.mask, iterations=3) & (subject.image < -950)) < 0.02


@SLOW
def test_heart_and_liver_lie_on_their_sides():
    subject = cached('thorax', 1)
    middle = subject.image.shape[0] // 2
    lung = subject.mask & (subject.image < -600) & (subject.image > -950)
    # x runs to the right: the heart takes from the left lung, the liver lifts the right dome.
    heart_level = lung[:, :, 75:90]
    assert heart_level[middle:].sum() > heart_level[:middle].sum()
    assert subject.image[middle + 35, 76, 60] > 0.0


@pytest.mark.parametrize('dataset', DATASETS)
def test_anatomy_changes_between_slices(dataset):
    subject = cached(dataset, 1)
    depth = subject.image.shape[2]
    correlations = []
    for k in range(depth // 2 - 30, depth // 2 + 31, 10):
        inside = subject.mask[:, :, k]
        between = (subject.image[:, :, k - 10] + subject.image[:, :, k + 10]) / 2.0
        correlations.append(np.corrcoef(between[inside], subject.image[:, :, k][inside])[0, 1])
    # A straight line between slices 20 mm apart is a poor guess.
    assert np.mean(correlations) < 0.92
    assert np.mean(correlations) > 0.1


def test_unknown_dataset_names_the_argument():
    with pytest.raises(UserError, match='`dataset=knee`'):
        make_subject('knee', 0)
