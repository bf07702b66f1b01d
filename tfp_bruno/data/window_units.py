"""Checks that intensities are in the units of a dataset's window, above all CT in Hounsfield units."""

import pathlib

import numpy as np

from tfp_bruno.errors import UserError, warn

# A window that begins here or lower is in Hounsfield units: fat is at -100, air at -1000.
HOUNSFIELD_BELOW = -100.0
# Scanners fill voxels outside the measured field with -2000 or -3024.
PADDING_BELOW = -1500.0
# Air and fat are below the first, water and soft tissue above the second.
FAT, SOFT_TISSUE = -50.0, -100.0
# Bone and contrast agent exceed this: less than a tenth of a body, unless its intensities are shifted.
BONE = 500.0
# Least shares of voxels. Ringing of a spline at the skin of a shifted body looks like air, but in few voxels.
LEAST_FAT, LEAST_FAT_AND_RINGING, LEAST_SOFT_TISSUE = 1e-3, 5e-2, 1e-2
# Least span of intensities: in Hounsfield units, which the noise of a CT exceeds, or as a share of other windows.
LEAST_SPAN, LEAST_SPAN_SHARE = 20.0, 0.05
MOST_WHITE = 0.95
# A background up to this share of the window above its lower end is black.
BLACK = 0.05
# Number of voxels from which shares are computed.
SAMPLE = 2**20


def check_window_units(
    values: np.ndarray,
    inside: np.ndarray,
    background: float | None,
    window: tuple[float, float],
    dataset: str,
    path: pathlib.Path,
) -> None:
    """Checks that intensities can be in the units of a window; otherwise most voxels would become black or white.

    Args:
        values: All voxels of the volume, flat.
        inside: Voxels inside its mask; all of them without a mask.
        background: Constant along the edges of the volume; None if there is none, or if there is a mask.
        window: Intensities that become 0 and 1.
        dataset: Name of the dataset.
        path: The file, for errors and warnings.

    Raises:
        UserError: If they cannot be in these units. Intensities that a masked or cropped scan may have cause a
            warning.
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
    """Checks that air, fat and soft tissue have their Hounsfield units."""
    measured, body = values[values > PADDING_BELOW], inside[inside > PADDING_BELOW]
    remedy = 'apply the rescale slope and intercept (often: subtract 1024)'
    fat = np.count_nonzero(measured < FAT)
    is_shifted = fat < LEAST_FAT_AND_RINGING * measured.size and body.size and np.percentile(body, 90) > BONE
    if is_shifted or fat < LEAST_FAT * measured.size:
        message = f'{path}: has neither air nor fat, below {FAT:g}, but {wanted}, is in Hounsfield units ({found}); '
        is_whole = values.size == inside.size and values.min() >= 0
        if is_shifted or is_whole:
            raise UserError(f'{message}{remedy}, or set the background of a masked scan to -1000.')
        warn(f'{message}if it is not a masked or cropped scan, {remedy}.')
    elif np.count_nonzero(measured > SOFT_TISSUE) < LEAST_SOFT_TISSUE * measured.size:
        warn(f'{path}: has no soft tissue, about 0 to 100, but {wanted}, is in Hounsfield units ({found}); {remedy}.')


def _sample(values: np.ndarray) -> np.ndarray:
    """Returns enough evenly spaced voxels to compute shares."""
    return values[:: max(1, values.size // SAMPLE)]
