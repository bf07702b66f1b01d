"""Cycles of registration and averaging."""

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.motion import (
    MotionSettings,
    RegistrationSettings,
    StackProtocol,
    average_cycle,
    run_cycles,
    simulate_stacks,
    slice_errors,
    usable_slices,
)

PROTOCOL = StackProtocol(thickness=2.0, spacing=4.0, pixel_spacing=2.0)


@pytest.mark.slow
def test_run_cycles_from_the_truth_reconstructs_the_volume(blobs):
    settings = RegistrationSettings(search=0.0)
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, PROTOCOL, MotionSettings(4.0, 4.0))
    used = usable_slices(simulated.stacks, settings.least_area)
    cycles = list(run_cycles(simulated.stacks, blobs.volume, blobs.affine, 2, settings))
    assert len(cycles) == 2
    for cycle in cycles:
        errors = slice_errors(simulated.stacks, simulated.transforms, cycle.transforms, used)
        assert np.median(errors.distances) < 0.5 and np.median(errors.angles) < 0.7
        inner = ndimage.binary_erosion(blobs.mask, iterations=3)
        assert np.corrcoef(cycle.volume[inner], blobs.volume[inner])[0, 1] > 0.95
        again = average_cycle(simulated.stacks, cycle.transforms, blobs.mask.shape, blobs.affine, settings)
        np.testing.assert_array_equal(again, cycle.volume)
    # The second one starts from the transforms of the first, and registers to its volume.
    assert not np.array_equal(np.concatenate(cycles[0].transforms), np.concatenate(cycles[1].transforms))
