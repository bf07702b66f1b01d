"""Errors of transforms, against motions that are known."""

import numpy as np
import pytest

from tfp_bruno.motion import MotionSettings, StackProtocol, common_offset, simulate_stacks, slice_errors, usable_slices
from tfp_bruno.motion.rigid import rigid_matrix

PROTOCOL = StackProtocol(thickness=2.0, spacing=8.0, pixel_spacing=2.0)


@pytest.fixture(scope='module')
def simulated(blobs):
    return simulate_stacks(blobs.volume, blobs.mask, blobs.affine, PROTOCOL, MotionSettings(10.0, 10.0))


def test_slice_errors_of_the_truth_are_zero_wherever_the_volume_lies(simulated):
    used = usable_slices(simulated.stacks, 600.0)
    offset = rigid_matrix(np.array([20.0, -30.0, 40.0]), np.array([50.0, 0.0, -10.0]), np.ones(3))
    moved = [offset @ own for own in simulated.transforms]
    np.testing.assert_allclose(
        common_offset(simulated.stacks, simulated.transforms, moved, used) @ offset, np.eye(4), atol=1e-6
    )
    errors = slice_errors(simulated.stacks, simulated.transforms, moved, used)
    assert errors.distances.shape == errors.angles.shape == (sum(own.sum() for own in used),)
    assert errors.distances.max() < 1e-4 and errors.angles.max() < 1e-4
    assert errors.summary() == {
        'median_mm': pytest.approx(0, abs=1e-4),
        'median_degrees': pytest.approx(0, abs=1e-4),
        'share_2mm': 1.0,
        'share_5mm': 1.0,
    }


def test_slice_errors_of_single_slices_do_not_move_the_others(simulated):
    used = usable_slices(simulated.stacks, 600.0)
    found = [own.copy() for own in simulated.transforms]
    index = int(np.flatnonzero(used[0])[2])
    points = simulated.stacks[0].mask_points(index)
    # 3 mm along a world axis of the volume, and 7 degrees about the middle of the mask's pixels elsewhere.
    found[0][index, 0, 3] += 3.0
    other = int(np.flatnonzero(used[1])[3])
    found[1][other] = found[1][other] @ rigid_matrix(np.array([0.0, 0.0, 7.0]), np.zeros(3), points.mean(axis=0))
    errors = slice_errors(simulated.stacks, simulated.transforms, found, used)
    assert errors.distances[2] == pytest.approx(3.0, abs=0.02)
    assert errors.angles[used[0].sum() + 3] == pytest.approx(7.0, abs=0.05)
    rest = np.delete(errors.distances, [2, used[0].sum() + 3])
    assert rest.max() < 0.05


def test_slice_errors_of_no_slices_are_nan(simulated):
    none = [np.zeros(stack.num_slices, bool) for stack in simulated.stacks]
    errors = slice_errors(simulated.stacks, simulated.transforms, simulated.transforms, none)
    assert errors.distances.size == 0 and np.isnan(list(errors.summary().values())).all()
