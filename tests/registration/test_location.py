"""Size, place, displacement and coordinates of a subject, against brute force over its map."""

import json

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.registration import CanonicalModel, CanonicalSpace, FoundMap, Frame, Location, SmoothBasis, SubjectMap

SHAPE, SIDES = (14, 18, 16), np.array([3.0, 2.0, 2.0])


@pytest.fixture(scope='module')
def model():
    """An ellipsoid of noise, with two components."""
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing='ij'), -1)
    inside = np.sum(np.square((grid - [6.5, 8.5, 7.5]) / [5.5, 7, 6]), -1) < 1
    rng = np.random.default_rng(0)
    mean = (inside * rng.uniform(0.3, 0.7, SHAPE)).astype(np.float32)
    basis = SmoothBasis(SHAPE, SIDES, length=12.0, std=2.0, num_modes=10)
    space = CanonicalSpace(Frame.measure(mean), basis)
    return CanonicalModel(space, mean, 0.05 * rng.normal(size=(*SHAPE, 2)).astype(np.float32))


def make_location(model, coefficients, ratios=(1.0, 1.0, 1.0), shift=(0.0, 0.0, 0.0), covariance=None, **kwargs):
    frame = model.space.frame
    subject = SubjectMap(Frame(frame.size * ratios, frame.place + shift), coefficients)
    size = coefficients.size + 6
    covariance = np.zeros((size, size)) if covariance is None else covariance
    return Location(model, FoundMap(subject, np.array([0.5, -1.0]), covariance, 0.07), **kwargs)


def none(model):
    return np.zeros((3, model.space.basis.size))


def test_size_and_shift_of_a_frame_are_its_numbers(model):
    ratios = np.array([1.2, 0.9, 1.1])
    location = make_location(model, none(model), ratios, alignment='affine')
    np.testing.assert_allclose(location.size_percent, 100 * ratios)
    # A frame of the same size that lies elsewhere.
    moved = make_location(model, none(model), shift=(1.0, -2.0, 0.5), alignment='affine')
    np.testing.assert_allclose(moved.shift_mm, SIDES * [1.0, -2.0, 0.5], atol=1e-9)
    assert (moved.size_std, moved.shift_std, moved.rms_displacement, moved.largest_displacement) == (None, None, 0, 0)
    assert moved.error == 0.07


def test_linear_displacements_change_size_and_shift(model):
    # The basis begins with a constant and the three linear functions, u = a + d: measured by finite differences.
    coefficients = none(model)
    coefficients[:, 0] = [0.4, -0.3, 0.2]
    coefficients[range(3), range(1, 4)] = [1.0, -0.8, 0.6]
    location = make_location(model, coefficients, (1.2, 0.9, 1.1), (0.5, 0.2, -0.3))
    middle = [location._anatomy.centre[axis] * np.ones(1) for axis in range(3)]
    subject, space = location.found.subject, model.space
    slopes = []
    for axis in range(3):
        ends = [
            space.grid(subject, [m + 0.5 * sign * (a == axis) for a, m in enumerate(middle)]).ravel()
            for sign in (-1, 1)
        ]
        slopes.append((ends[1] - ends[0])[axis])
    np.testing.assert_allclose(location.size_percent, 100 / np.array(slopes), rtol=1e-4)
    # The place of the middle of the anatomy in the stack, by the first-order inverse.
    displacement = space.displacement(subject, middle).ravel()
    ratios = subject.frame.size / space.frame.size
    place = subject.frame.place + (np.ravel(middle) - displacement - space.frame.place) * ratios
    np.testing.assert_allclose(location.shift_mm, (place - np.ravel(middle)) * SIDES, atol=1e-4)


def test_standard_deviations_are_those_of_drawn_maps(model):
    rng = np.random.default_rng(1)
    size = 3 * model.space.basis.size + 6
    root = 0.3 * rng.normal(size=(size, size)) / np.sqrt(size)
    root[-6:-3] *= 0.1
    mode = 0.3 * rng.normal(size=(3, model.space.basis.size))
    location = make_location(model, mode, (1.2, 0.9, 1.1), covariance=root @ root.T)
    drawn = []
    for _ in range(1500):
        subject = location.found.subject.moved(root @ rng.normal(size=size))
        drawn.append(Location(model, FoundMap(subject, np.zeros(2), np.zeros((size, size)))))
    sizes, shifts = (np.array([getattr(each, name) for each in drawn]) for name in ('size_percent', 'shift_mm'))
    np.testing.assert_allclose(location.size_std, sizes.std(axis=0), rtol=0.08)
    np.testing.assert_allclose(location.shift_std, shifts.std(axis=0), rtol=0.08)


def test_displacement_is_that_over_the_anatomy(model):
    coefficients = 0.5 * np.random.default_rng(2).normal(size=none(model).shape)
    location = make_location(model, coefficients)
    field = model.space.displacement(location.found.subject, [np.arange(size) for size in SHAPE])
    lengths = np.linalg.norm(field * SIDES[:, None, None, None], axis=0)
    axes = np.ix_(*[np.arange(1, size, 3) for size in SHAPE])
    inside = lengths[axes][model.mean[axes] > 0.02]
    assert location.rms_displacement == pytest.approx(np.sqrt(np.mean(inside**2)), rel=1e-4)
    assert location.largest_displacement == pytest.approx(inside.max(), rel=1e-4)
    # Measured at every third voxel, it is that of all voxels.
    assert location.rms_displacement == pytest.approx(np.sqrt(np.mean(lengths[model.mean > 0.02] ** 2)), rel=0.05)


def test_grid_and_images_are_the_model_at_the_map(model):
    coefficients = 0.5 * np.random.default_rng(3).normal(size=none(model).shape)
    location = make_location(model, coefficients, (1.1, 0.9, 1.0))
    grid = location.grid([3, 9])
    assert grid.shape == (2, *SHAPE[1:], 3)
    expected = model.space.grid(location.found.subject, ([3, 9], np.arange(SHAPE[1]), np.arange(SHAPE[2])))
    np.testing.assert_array_equal(np.moveaxis(grid, -1, 0), expected)
    plain = location.grid([3, 9], displaced=False)
    frame, own = model.space.frame, location.found.subject.frame
    np.testing.assert_allclose(plain[1, 4, 5], frame.place + ([9, 4, 5] - own.place) * frame.size / own.size, rtol=1e-5)
    volume = model.mean + model.loadings @ np.float32([0.5, -1.0])
    for points, displaced in ((grid, True), (plain, False)):
        sampled = ndimage.map_coordinates(volume, np.moveaxis(points, -1, 0), order=1, mode='nearest')
        np.testing.assert_allclose(location.images([3, 9], displaced), np.clip(sampled, 0, 1), atol=1e-5)


def test_to_json_holds_plain_numbers(model):
    location = make_location(model, none(model), covariance=np.eye(none(model).size + 6))
    values = json.loads(json.dumps(location.to_json()))
    assert values['size_percent'] == [100, 100, 100]
    assert values['error'] == 0.07
    assert all(value > 0 for value in values['size_std_percent'] + values['shift_std_mm'])
    assert make_location(model, none(model)).to_json()['size_std_percent'] is None
