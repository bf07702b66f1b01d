"""Slice-to-volume reconstruction in its simplest form: cycles of registration and averaging."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tfp_bruno.motion.average import gaussian_average
from tfp_bruno.motion.slices import SliceStack, Transforms, identity_transforms
from tfp_bruno.motion.stack_registration import RegistrationSettings, register_stacks, usable_slices

# `width` of the average: with 1, volumes and the slices registered to them drift apart faster.
WIDTH = 0.7


@dataclasses.dataclass(frozen=True)
class Cycle:
    """The result of one cycle.

    Attributes:
        transforms: float64 `[N, 4, 4]` for each stack.
        correlations: float64 `[N]` for each stack, with the volume that was the target; NaN if not registered.
        volume: float32 `[X, Y, Z]`, the Gaussian average of the registered slices.
    """

    transforms: list[np.ndarray]
    correlations: list[np.ndarray]
    volume: np.ndarray


def run_cycles(
    stacks: Sequence[SliceStack],
    start: np.ndarray,
    affine: np.ndarray,
    num_cycles: int,
    settings: RegistrationSettings | None = None,
) -> Iterator[Cycle]:
    """Registers all slices to a volume and averages them into the next one, again and again.

    The first cycle starts from the slices as they were acquired, each later one from the transforms of the one before,
    without its search of starting points.

    Args:
        stacks: The stacks.
        start: First target, `[X, Y, Z]`, background 0.
        affine: Of the target and of all volumes, voxel indices to world mm, `[4, 4]`.
        num_cycles: At least 1.
        settings: Of the registration; None for the default.

    Yields:
        The result of each cycle.
    """
    settings = settings or RegistrationSettings()
    transforms, volume = identity_transforms(stacks), start
    for cycle in range(num_cycles):
        own = settings if cycle == 0 else dataclasses.replace(settings, search=0.0)
        registered = register_stacks(stacks, volume, affine, transforms, own)
        transforms = registered.transforms
        volume = average_cycle(stacks, transforms, start.shape, affine, settings)
        yield Cycle(transforms, registered.correlations, volume)


def average_cycle(
    stacks: Sequence[SliceStack],
    transforms: Transforms,
    shape: tuple[int, int, int],
    affine: np.ndarray,
    settings: RegistrationSettings,
) -> np.ndarray:
    """Averages the slices that are registered, as `run_cycles` does.

    Args:
        stacks: The stacks.
        transforms: Of their slices, `[N, 4, 4]` for each stack.
        shape: Of the volume.
        affine: Of the volume, `[4, 4]`.
        settings: Of the registration.

    Returns:
        float32 `shape`, the `gaussian_average` of `width` 0.7.
    """
    return gaussian_average(stacks, transforms, shape, affine, usable_slices(stacks, settings.least_area), WIDTH)
