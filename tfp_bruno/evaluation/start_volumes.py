"""Scores of initial volumes for slice-to-volume reconstruction: how slices register to them, and what follows."""

from collections.abc import Callable, Iterator, Mapping

import joblib
import numpy as np

from tfp_bruno.errors import UserError, warn
from tfp_bruno.evaluation.metrics import correlation, ssim_map, ssim_over_slices
from tfp_bruno.motion import (
    RegistrationSettings,
    SimulatedStacks,
    average_cycle,
    common_offset,
    gaussian_average,
    identity_transforms,
    run_cycles,
    slice_errors,
    usable_slices,
)

AVERAGE = 'gaussian average'

# The name of the start, the number of the cycle, and scores by name.
Row = dict[str, str | int | float]


def score_starts(
    truth: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    starts: Mapping[str, np.ndarray],
    simulated: SimulatedStacks,
    num_cycles: int = 3,
    settings: RegistrationSettings | None = None,
    placed: Mapping[str, np.ndarray] | None = None,
) -> list[Row]:
    """Registers simulated slices to each of several start volumes, and reconstructs the volume from them.

    The stacks' Gaussian average, where the slices were acquired, is always the first start. The errors of slices are
    measured after the rigid transform that all of them have in common is removed, see `motion.slice_errors`, and the
    volume of a cycle is averaged anew with it.

    Args:
        truth: The true volume, in [0, 1], `[X, Y, Z]`; RAS, so that slices for SSIM are axial.
        mask: bool `[X, Y, Z]`, the anatomy.
        affine: Voxel indices to world mm, `[4, 4]`.
        starts: Start volumes by name, on the grid of the truth and with its intensities, background 0.
        simulated: Stacks of the truth with their motion, from `motion.simulate_stacks`.
        num_cycles: Of registration and averaging; with 0 the starts alone are scored.
        settings: Of the registration, the same for all starts; None for the default.
        placed: By name, start volumes that are moved to the place of the truth, for their own scores in cycle 0: a
            start may lie anywhere, and is none the worse for it. A start that is missing is scored as it is.

    Returns:
        For each start a row for cycle 0, the start volume with the slices as they were acquired, and one for each
        cycle. Keys: `start`, `cycle`; of the volume, those of `score_inside`; of the slices, `median_mm`,
        `median_degrees`, `share_2mm`, `share_5mm` (see `SliceErrors`), `correlation` (the median with the target; NaN
        for cycle 0), `slices` (number of slices that count).

    Raises:
        UserError: If a start is on another grid, shows nothing, or no slice shows enough to be registered.
    """
    settings = settings or RegistrationSettings()
    stacks = simulated.stacks
    used = usable_slices(stacks, settings.least_area)
    if not any(own.any() for own in used):
        raise UserError(f'`least_area={settings.least_area:g}`: no slice shows that much of the mask; give less.')
    average = gaussian_average(stacks, identity_transforms(stacks), truth.shape, affine)
    rows: list[Row] = []
    for name, start in {AVERAGE: average, **starts}.items():
        if start.shape != truth.shape:
            raise UserError(f'`starts`: {name} is {start.shape}, the truth {truth.shape}; resample it to that grid.')
        reached = _reached(start, affine, simulated, used, num_cycles, settings)
        for cycle, (volume, scores) in enumerate(reached):
            scored = volume if cycle else (placed or {}).get(name, volume)
            own = {**score_inside(truth, scored, mask), **scores}
            rows.append({'start': name, 'cycle': cycle, **own, 'slices': int(sum(each.sum() for each in used))})
    return rows


def score_subjects(subjects: Mapping[str, Callable[[], list[Row]]], jobs: int = 2) -> list[Row]:
    """Scores the start volumes of many subjects in parallel processes.

    Args:
        subjects: For each subject a function that returns its rows, such as a `functools.partial` of `score_starts`.
        jobs: Number of processes, at least 1.

    Returns:
        The rows of all subjects, in their order, each with the key `subject`. A subject that fails causes a warning and
        has no rows.

    Raises:
        UserError: If all subjects fail: the error of the first.
    """
    done = joblib.Parallel(n_jobs=jobs)(joblib.delayed(_try)(function) for function in subjects.values())
    rows: list[Row] = []
    errors = []
    for name, result in zip(subjects, done, strict=True):
        if isinstance(result, UserError):
            errors.append(result)
            warn(f'{name}: is left out: {result}')
        else:
            rows += [{'subject': name, **row} for row in result]
    if errors and not rows:
        raise errors[0]
    return rows


def score_inside(truth: np.ndarray, volume: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Scores a volume against the truth.

    Args:
        truth: `[X, Y, Z]`, in [0, 1].
        volume: `[X, Y, Z]`.
        mask: bool `[X, Y, Z]`, not empty.

    Returns:
        `ssim`, the mean over whole slices, `cc` and `psnr` (dB) of the whole volume, and inside the mask `mask_ssim`,
        `mask_cc` and `mask_psnr`.
    """
    similarity = ssim_map(truth.T, volume.T)
    return {
        'ssim': float(ssim_over_slices(similarity).mean()),
        'cc': correlation(truth, volume),
        'psnr': _psnr(truth, volume),
        'mask_ssim': float(similarity.T[mask].mean(dtype=np.float64)),
        'mask_cc': correlation(truth[mask], volume[mask]),
        'mask_psnr': _psnr(truth[mask], volume[mask]),
    }


def _psnr(truth: np.ndarray, volume: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB, for a peak of 1."""
    squared = float(np.mean(np.square(truth - volume), dtype=np.float64))
    return float(-10 * np.log10(squared)) if squared else np.inf


def _try(function: Callable[[], list[Row]]) -> list[Row] | UserError:
    """Returns the rows of a subject, or its error."""
    try:
        return function()
    except UserError as error:
        return error


def _reached(
    start: np.ndarray,
    affine: np.ndarray,
    simulated: SimulatedStacks,
    used: list[np.ndarray],
    num_cycles: int,
    settings: RegistrationSettings,
) -> Iterator[tuple[np.ndarray, dict[str, float]]]:
    """Yields the volume and the scores of the slices, at the start and after each cycle."""
    stacks, truth = simulated.stacks, simulated.transforms
    before = slice_errors(stacks, truth, identity_transforms(stacks), used)
    yield start, {**before.summary(), 'correlation': np.nan}
    for cycle in run_cycles(stacks, start, affine, num_cycles, settings):
        offset = common_offset(stacks, truth, cycle.transforms, used)
        volume = average_cycle(stacks, [offset @ own for own in cycle.transforms], start.shape, affine, settings)
        errors = slice_errors(stacks, truth, cycle.transforms, used)
        yield volume, {**errors.summary(), 'correlation': float(np.nanmedian(np.concatenate(cycle.correlations)))}
