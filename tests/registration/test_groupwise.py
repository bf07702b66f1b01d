"""Registration of deformed copies of one volume brings them onto each other."""

import numpy as np
import pytest
from scipy import spatial

from tfp_bruno.registration import Frame, Registration, SubjectMap, make_space, mean_frame, register_subjects

VOXEL_SIZE = (2.0, 1.5, 1.5)


def test_space_has_the_mean_frame_and_the_box(population):
    frames = [Frame.measure(stack) for stack in population]
    space = make_space(frames, population.shape[1:], VOXEL_SIZE)
    np.testing.assert_array_equal(space.frame, mean_frame(frames))
    assert space.basis.shape == population.shape[1:]
    # Shares of the longer side of a slice, 20 pixels of 1.5 mm.
    assert (space.basis.length, space.basis.std) == pytest.approx((0.16 * 30, 0.019 * 30))


def test_registration_reduces_the_variance_of_a_population(population, registration):
    frames = [subject.frame for subject in registration.maps]
    framed = [SubjectMap(frame, registration.space.identity.coefficients) for frame in frames]
    framed = Registration.of_maps(population, VOXEL_SIZE, framed).volumes
    before, by_frame, after = (each.var(axis=0).mean() for each in (population, framed, registration.volumes))
    assert by_frame < before
    assert after < 0.6 * by_frame
    assert registration.volumes.shape == population.shape
    assert registration.volumes.dtype == np.float32


def test_volumes_are_warped_by_their_maps_and_filled_with_the_mean(population, registration):
    pairs = zip(population, registration.maps, strict=True)
    warped = np.stack([registration.space.warp(stack, subject) for stack, subject in pairs])
    unknown = np.isnan(warped)
    assert 0 < unknown.mean() < 0.5
    np.testing.assert_array_equal(registration.volumes[~unknown], warped[~unknown])
    # Where at least one subject is known, the others have the mean of those.
    mean = np.ma.masked_invalid(warped).mean(axis=0)
    for volume, outside in zip(registration.volumes, unknown & ~mean.mask, strict=True):
        np.testing.assert_allclose(volume[outside], mean.filled(0)[outside], atol=1e-6)


def test_outside_all_stacks_the_nearest_voxel_counts(population):
    frames = [Frame.measure(stack) for stack in population]
    space = make_space(frames, population.shape[1:], VOXEL_SIZE)
    # The displacement lifts all stacks by three slices: the first three planes show nothing of them.
    coefficients = np.zeros((3, space.basis.size))
    coefficients[0, 0] = 3 * VOXEL_SIZE[0] / space.basis.std
    lifted = [SubjectMap(frame, coefficients) for frame in frames]
    warped = np.stack([space.warp(stack, subject) for stack, subject in zip(population, lifted, strict=True)])
    unknown = np.isnan(warped).all(axis=0)
    assert unknown[:2].all()
    assert not unknown[5:-1].all()
    volumes = Registration.of_maps(population, VOXEL_SIZE, lifted).volumes
    mean = np.ma.masked_invalid(warped).mean(axis=0)
    known = np.argwhere(~unknown)
    distances, _ = spatial.cKDTree(known).query(np.argwhere(unknown))
    for point, distance in zip(np.argwhere(unknown), distances, strict=True):
        # Several voxels may be equally near.
        nearest = known[np.isclose(np.linalg.norm(known - point, axis=1), distance)]
        assert np.isclose(mean[tuple(nearest.T)].filled(-1), volumes[0][tuple(point)], atol=1e-6).any()


def test_frames_are_those_of_the_stacks(population, registration):
    for stack, subject in zip(population, registration.maps, strict=True):
        np.testing.assert_allclose(np.stack(subject.frame), np.stack(Frame.measure(stack)), rtol=1e-12)


def test_equal_subjects_are_not_displaced(blobs):
    maps = register_subjects(np.stack([blobs] * 3), VOXEL_SIZE)
    for subject in maps:
        assert np.abs(subject.coefficients).max() < 0.3


@pytest.mark.slow
def test_processes_do_not_change_the_result(population, registration):
    maps = register_subjects(population, VOXEL_SIZE, jobs=2)
    for ours, theirs in zip(maps, registration.maps, strict=True):
        np.testing.assert_allclose(ours.coefficients, theirs.coefficients, atol=1e-6)
