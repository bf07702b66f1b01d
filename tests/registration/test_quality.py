"""Numbers of a registration against the maps that were put in, and robust z-scores against their definition."""

import numpy as np
import pytest

from tfp_bruno.registration import Frame, Registration, RegistrationQuality, SubjectMap

VOXEL_SIZE = (2.0, 1.5, 1.5)


@pytest.fixture(scope='module')
def quality(population, registration):
    return RegistrationQuality.measure(population, registration)


def test_sizes_and_places_are_those_of_the_stacks(quality, population, registration):
    frames = [Frame.measure(stack) for stack in population]
    size = np.exp(np.mean(np.log([frame.size for frame in frames]), axis=0))
    place = np.mean([frame.place for frame in frames], axis=0)
    np.testing.assert_allclose(quality.sizes, [100 * frame.size / size for frame in frames])
    np.testing.assert_allclose(quality.places, [(frame.place - place) * VOXEL_SIZE for frame in frames], atol=1e-9)


def test_displacement_of_a_constant_is_its_length(population, registration):
    # The first function of the basis is a constant, of the standard deviation of the displacements.
    space = registration.space
    coefficients = np.zeros((3, space.basis.size))
    coefficients[:, 0] = [3.0, 0.0, 4.0]
    maps = [SubjectMap(subject.frame, number * coefficients) for number, subject in enumerate(registration.maps)]
    found = RegistrationQuality.measure(population, Registration(space, maps, registration.volumes))
    np.testing.assert_allclose(found.displacements, 5 * space.basis.std * np.arange(len(maps)), rtol=1e-5)


def test_residuals_and_spreads_are_those_of_the_anatomy(quality, population, registration):
    def deviations(volumes):
        return (volumes - volumes.mean(axis=0))[:, volumes.mean(axis=0) > 0.02]

    after = deviations(registration.volumes)
    np.testing.assert_allclose(quality.residuals, np.sqrt(np.square(after).mean(axis=1)), rtol=1e-4)
    assert quality.spread_after == pytest.approx(np.sqrt(np.square(after).mean()), rel=1e-4)
    assert quality.spread_before == pytest.approx(np.sqrt(np.square(deviations(population)).mean()), rel=1e-4)
    assert quality.spread_after < 0.6 * quality.spread_before


def test_a_volume_unlike_the_others_is_an_outlier(population, registration):
    volumes = registration.volumes.copy()
    volumes[3] = np.roll(volumes[3], 3, axis=1)
    volumes[7] = 0.5
    found = RegistrationQuality.measure(population, Registration(registration.space, registration.maps, volumes))
    assert set(found.outliers) == {3, 7}
    assert found.residuals[found.outliers[0]] > found.residuals[found.outliers[1]]
    median = np.median(found.residuals)
    scale = 1.4826 * np.median(np.abs(found.residuals - median))
    np.testing.assert_allclose(found.z_scores, (found.residuals - median) / scale, rtol=1e-4)


def test_equal_subjects_have_no_outliers(blobs, registration):
    equal = np.stack([blobs] * 4)
    found = RegistrationQuality.measure(equal, Registration(registration.space, registration.maps[:4], equal))
    np.testing.assert_array_equal(found.z_scores, np.zeros(4))
    assert not len(found.outliers)
    # A single one that differs is one, however little.
    equal[2] *= 1.01
    found = RegistrationQuality.measure(equal, Registration(registration.space, registration.maps[:4], equal))
    assert found.outliers.tolist() == [2]


def test_black_subjects_have_numbers(registration):
    black = np.zeros_like(registration.volumes)
    found = RegistrationQuality.measure(black, Registration(registration.space, registration.maps, black))
    np.testing.assert_array_equal(found.residuals, 0)
    assert np.isfinite(found.displacements).all()
    assert (found.spread_before, found.spread_after) == (0, 0)
