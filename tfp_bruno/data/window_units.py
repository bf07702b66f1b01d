"""Whether intensities are in the units of a dataset's window: CT in Hounsfield units, above all."""

import pathlib

import numpy as np

from tfp_bruno.errors import UserError, warn

# A window that begins here or lower is one of Hounsfield units: fat is at -100, air at -1000.
HOUNSFIELD_BELOW = -100.0
# Scanners fill what they did not measure with -2000 or -3024.
PADDING_BELOW = -1500.0
# Below this is air or fat, above it water and soft tissue.
FAT, SOFT_TISSUE = -50.0, -100.0
# Hounsfield units that bone exceeds, and contrast agent; of a body less than a tenth does, unless it is shifted.
BONE = 500.0
# Shares of the voxels. A spline's ringing at the skin of a shifted body may look like air, but little of it.
LEAST_FAT, LEAST_FAT_AND_RINGING, LEAST_SOFT_TISSUE = 1e-3, 5e-2, 1e-2
# The noise of a CT spans more Hounsfield units; of a window in other units this share.
LEAST_SPAN, LEAST_SPAN_SHARE = 20.0, 0.05
MOST_WHITE = 0.95
# Share of the window above its lower end within which a background counts as black.
BLACK = 0.05
# Voxels that shares are taken of.
SAMPLE = 2**20


def check_window_units(
    values: np.ndarray,
    inside: np.ndarray,
    background: float | None,
    window: tuple[float, float],
    dataset: str,
    path: pathlib.Path,
) -> None:
    """Checks that intensities can be those of a window, without which all would be black or white.

    Args:
        values: all voxels of the volume, flat.
        inside: those inside its mask; all without one.
        background: the constant along the edges of the volume; None if there is none, or a mask replaces it.
        window: intensities that become 0 and 1.
        dataset: its name.
        path: the file, for errors and warnings.

    Raises:
        UserError: if they cannot be; what may be right, in a scan that is masked or cropped, is a warning.
    """
    low, high = window
    wanted = f'the window of {dataset}, {low:g} to {high:g}'
    found = f'it reaches from {values.min():g} to {values.max():g}, {np.mean(values >= high):.0%} of it white'
    if values.max() <= low:
        raise UserError(f'{path}: has no voxel above {low:g}, black in {wanted}; give it in the units of the window.')
    if low <= HOUNSFIELD_BELOW:
        _check_hounsfield(_sample(values), _sample(inside), wanted, found, path)
    if np.ptp(np.percentile(_sample(values), [0.1, 99.9])) < min(LEAST_SPAN, LEAST_SPAN_SHARE * (high - low)):
        raise UserError(f'{path}: has next to no contrast in {wanted} ({found}); give it in the units of the window.')
    if np.mean(values[values > low] >= high) > MOST_WHITE:
        raise UserError(f'{path}: is black and white only in {wanted} ({found}); give it in the units of the window.')
    if background is not None and background > low + BLACK * (high - low):
        raise UserError(
            f'{path}: has a background of {background:g}, which is not black in {wanted}; set it to {low:g} or less, '
            'or give a mask.'
        )


def _check_hounsfield(values: np.ndarray, inside: np.ndarray, wanted: str, found: str, path: pathlib.Path) -> None:
    """Checks that air, fat and soft tissue are where they are in Hounsfield units."""
    measured, body = values[values > PADDING_BELOW], inside[inside > PADDING_BELOW]
    mend = 'apply the rescale slope and intercept (often: subtract 1024)'
    fat = np.count_nonzero(measured < FAT)
    is_shifted = fat < LEAST_FAT_AND_RINGING * measured.size and body.size and np.percentile(body, 90) > BONE
    if is_shifted or fat < LEAST_FAT * measured.size:
        message = f'{path}: has neither air nor fat, below {FAT:g} in Hounsfield units, as {wanted}, is ({found}); '
        is_whole = values.size == inside.size and values.min() >= 0
        if is_shifted or is_whole:
            raise UserError(f'{message}{mend}, or set the background of a masked scan to -1000.')
        warn(f'{message}if it is not a masked or cropped scan, {mend}.')
    elif np.count_nonzero(measured > SOFT_TISSUE) < LEAST_SOFT_TISSUE * measured.size:
        warn(f'{path}: has no soft tissue, about 0 to 100 in Hounsfield units, as {wanted}, is ({found}); {mend}.')


def _sample(values: np.ndarray) -> np.ndarray:
    """Returns evenly spaced voxels, enough for shares."""
    return values[:: max(1, values.size // SAMPLE)]
