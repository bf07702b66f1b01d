"""Inference of known frames, and resampling against SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.baselines.frame_finder import FrameFinder, interpolation_matrix, resample
from tfp_bruno.registration import Frame

SHAPE = (24, 33, 30)


def make_head(size, place, seed=0):
    """An ellipsoid with a pattern of its own inside, of standard deviations `size` about `place`."""
    pattern = np.random.default_rng(seed).normal(size=5)
    u = [(axis - p) / s for axis, s, p in zip(np.ogrid[tuple(map(slice, SHAPE))], size, place, strict=True)]
    inside = sum(np.square(each) for each in u) < 5
    texture = np.cos(2 * u[0] + pattern[0]) + np.cos(2 * u[1] + pattern[1]) + np.sin(u[2] * u[0])
    return (inside * (0.5 + 0.1 * texture + 0.03 * pattern[2] * np.cos(u[1] * u[2]))).astype(np.float32)


def fit(train):
    return FrameFinder.fit(train, [Frame.measure(stack) for stack in train])


@pytest.fixture(scope='module')
def frames():
    rng = np.random.default_rng(1)
    return [
        Frame(np.array([5.0, 5.5, 5.0]) * np.exp(rng.normal(0, 0.12, 3)), np.array([12, 16, 15]) + rng.normal(0, 1, 3))
        for _ in range(30)
    ]


@pytest.fixture(scope='module')
def train(frames):
    return np.stack([make_head(*frame, seed) for seed, frame in enumerate(frames)])


def test_resample_matches_scipy(train):
    scale, offset = np.array([1.2, 0.9, 1.1]), np.array([-2.0, 1.3, -1.6])
    expected = ndimage.affine_transform(train[0], scale, offset, order=1, mode='grid-constant')
    points = [s * np.arange(n) + o for s, o, n in zip(scale, offset, SHAPE, strict=True)]
    np.testing.assert_allclose(resample(train[0], points), expected, atol=1e-5)
    np.testing.assert_allclose(resample(train[:2], points)[0], expected, atol=1e-5)
    assert not resample(train[0], [np.array([-5.0, 90.0]), *points[1:]]).any()


def test_interpolation_matrix_is_zero_outside():
    expected = [[0, 0, 0], [0.5, 0, 0], [0, 0.75, 0.25], [0, 0, 1]]
    np.testing.assert_allclose(interpolation_matrix(np.array([-2.0, -0.5, 1.25, 2]), 3), expected)


@pytest.mark.parametrize(('contexts', 'tolerance'), [([4, 12, 18], 0.06), ([12], 0.12)], ids=str)
def test_find_recovers_a_known_frame(train, contexts, tolerance):
    truth = Frame(np.array([5.8, 4.7, 5.4]), np.array([12.6, 17.1, 14.2]))
    found = fit(train).find(make_head(*truth, 99)[contexts], np.array(contexts))
    np.testing.assert_allclose(found.size[1:], truth.size[1:], rtol=tolerance)
    np.testing.assert_allclose(found.place[1:], truth.place[1:], atol=0.5)
    if len(contexts) > 1:
        np.testing.assert_allclose(found.size[0], truth.size[0], rtol=tolerance)
        np.testing.assert_allclose(found.place[0], truth.place[0], atol=0.5)


def test_find_without_anatomy_is_the_mean_frame(train):
    finder = fit(train)
    for contexts in ([], [3, 8]):
        assert finder.find(np.zeros((len(contexts), *SHAPE[1:])), np.array(contexts, int)) is finder.mean_frame


@pytest.mark.parametrize('count', [1, 2, 5])
def test_find_with_few_training_subjects_is_finite(train, count):
    found = fit(train[:count]).find(train[9, [12]], np.array([12]))
    assert np.all(np.isfinite(found))
    assert np.all(found.size > 1)
