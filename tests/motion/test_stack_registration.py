"""Registration of stacks: known motion is recovered, in any order, and what shows nothing is left out."""

import dataclasses

import nibabel
import numpy as np
import pytest

from tfp_bruno.errors import UserError
from tfp_bruno.motion import (
    MotionSettings,
    RegistrationSettings,
    StackProtocol,
    identity_transforms,
    register_stacks,
    simulate_stacks,
    slice_errors,
    usable_slices,
)

COARSE = StackProtocol(thickness=2.0, spacing=8.0, pixel_spacing=2.0, margin=10.0)
NARROW = RegistrationSettings(search=0.0)


@pytest.fixture(scope='module')
def moved(blobs):
    """Stacks of the blobs with up to 4 mm and 4 degrees of motion."""
    return simulate_stacks(blobs.volume, blobs.mask, blobs.affine, COARSE, MotionSettings(4.0, 4.0), seed=1)


def register(blobs, simulated, settings=NARROW):
    start = identity_transforms(simulated.stacks)
    return register_stacks(simulated.stacks, blobs.volume, blobs.affine, start, settings)


def test_register_stacks_recovers_known_motion_of_blobs(blobs, moved):
    used = usable_slices(moved.stacks, NARROW.least_area)
    found = register(blobs, moved)
    errors = slice_errors(moved.stacks, moved.transforms, found.transforms, used)
    assert errors.distances.size > 15
    assert np.median(errors.distances) < 0.5 and np.median(errors.angles) < 0.5
    assert np.nanmedian(np.concatenate(found.correlations)) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(2))
def test_register_stacks_recovers_known_motion_of_a_fetus(fetus, seed):
    protocol = StackProtocol(simultaneous=4, spacing=9.0, thickness=3.0)
    simulated = simulate_stacks(fetus.volume, fetus.mask, fetus.affine, protocol, MotionSettings(10.0, 10.0), seed=seed)
    used = usable_slices(simulated.stacks, RegistrationSettings().least_area)
    found = register(fetus, simulated, RegistrationSettings())
    errors = slice_errors(simulated.stacks, simulated.transforms, found.transforms, used)
    assert np.mean((errors.distances < 0.5) & (errors.angles < 0.5)) > 0.9
    assert np.median(errors.distances) < 0.25 and np.median(errors.angles) < 0.25


def test_register_stacks_without_motion_stays(blobs):
    still = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, COARSE, MotionSettings(0.0))
    used = usable_slices(still.stacks, NARROW.least_area)
    errors = slice_errors(still.stacks, still.transforms, register(blobs, still).transforms, used)
    assert errors.distances.max() < 0.5 and np.median(errors.angles) < 0.1


@pytest.mark.slow
def test_register_stacks_does_not_depend_on_the_order_of_stacks_and_slices(blobs, moved):
    found = register(blobs, moved)
    stacks = []
    for stack in moved.stacks[::-1]:
        affine = stack.affine @ nibabel.affines.from_matvec(np.diag([1, 1, -1]), [0, 0, stack.num_slices - 1])
        data, mask = stack.data[:, :, ::-1], stack.mask[:, :, ::-1]
        stacks.append(dataclasses.replace(stack, data=data, mask=mask, affine=affine, batches=stack.batches[::-1]))
    again = register(blobs, dataclasses.replace(moved, stacks=stacks))
    for first, second in zip(found.transforms, again.transforms[::-1], strict=True):
        np.testing.assert_allclose(second[::-1], first, atol=1e-3)


@pytest.mark.slow
def test_register_stacks_search_finds_what_lies_far_away(blobs):
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, COARSE, MotionSettings(0.0), planes=['axial'])
    used = usable_slices(simulated.stacks, 2000.0)
    shift = np.eye(4)
    shift[:3, 3] = [18.0, -17.0, 16.0]
    far = [np.tile(shift, (simulated.stacks[0].num_slices, 1, 1))]
    medians = []
    for search in (0.0, 20.0):
        settings = RegistrationSettings(least_area=2000.0, search=search)
        found = register_stacks(simulated.stacks, blobs.volume, blobs.affine, far, settings)
        moved = np.concatenate(found.transforms)[used[0]]
        medians.append(np.median(np.linalg.norm(moved[:, :3, 3], axis=1)))
    assert medians[1] < 1.0 < medians[0]


def test_register_stacks_together_moves_each_batch_as_one(blobs, moved):
    found = register(blobs, moved, dataclasses.replace(NARROW, together='batch'))
    used = usable_slices(moved.stacks, NARROW.least_area)
    for stack, transforms, own in zip(moved.stacks, found.transforms, used, strict=True):
        for batch in np.unique(stack.batches[own]):
            same = transforms[own & (stack.batches == batch)]
            np.testing.assert_array_equal(same, np.tile(same[0], (len(same), 1, 1)))
    errors = slice_errors(moved.stacks, moved.transforms, found.transforms, used)
    assert np.median(errors.distances) < 0.3


def test_register_stacks_leaves_out_slices_that_show_nothing(blobs, moved):
    stack = moved.stacks[0]
    data, mask = stack.data.copy(), stack.mask.copy()
    middle = stack.num_slices // 2
    data[:, :, middle] = 0.0
    mask[:, :, middle + 1] = False
    stack = dataclasses.replace(stack, data=data, mask=mask)
    found = register_stacks([stack], blobs.volume, blobs.affine, identity_transforms([stack]), NARROW)
    assert np.isnan(found.correlations[0][[0, middle, middle + 1]]).all()
    assert np.isfinite(found.correlations[0][middle - 1])
    np.testing.assert_array_equal(found.transforms[0][middle], np.eye(4))


def test_register_stacks_refuses_an_empty_target(blobs, moved):
    with pytest.raises(UserError, match='shows nothing'):
        register_stacks(moved.stacks, 0 * blobs.volume, blobs.affine, identity_transforms(moved.stacks))


@pytest.mark.parametrize(
    ('values', 'named'),
    [({'levels': ()}, '`levels`'), ({'search_step': 0.0}, '`search`'), ({'together': 'stack'}, 'together=stack')],
)
def test_registration_bad_setting_is_named(values, named):
    with pytest.raises(UserError, match=named):
        RegistrationSettings(**values)
