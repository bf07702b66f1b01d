"""The intensities of a volume that become black and white: the ends of a window, or background and percentile."""

import pathlib
from collections.abc import Sequence

import numpy as np

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.window_units import check_window_units
from tfp_bruno.errors import UserError, warn

# Least share of the voxels along the edges of a volume that belongs to a background.
BACKGROUND_SHARE = 0.5
# As a share of the intensity range: a background that varies by less is constant except for rounding.
NOISE = 2e-3
# Splines ring up to a few per cent of the range below the background, in few voxels.
RINGING, RINGING_SHARE = 0.05, 0.01
# Voxels further below the background, as a share of the range, cause a warning, however few they are.
DEEP = 0.2
# Every anatomy has voxels darker than this share of the range, unless its intensities are shifted.
PALE = 0.5


def intensity_range(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    definition: DatasetDefinition,
    path: pathlib.Path,
) -> tuple[float, float]:
    """Returns the intensities of volumes that become 0 and 1.

    With a window they are its ends, after a check of the units. With a percentile, the background becomes 0: the value
    along the edges of the volumes if that is constant, otherwise 0. Voxels equal to the background, or within its
    noise, do not count for the percentile.

    Args:
        images: Voxels of a volume, or of several slices of one subject, each `[X, Y, Z]`.
        masks: Mask of each, bool `[X, Y, Z]`, or None.
        definition: Dataset with a window, or with a percentile of the voxels that are not background.
        path: The file, for errors and warnings.

    Returns:
        (low, high) with low < high.

    Raises:
        UserError: If nothing is brighter than the background, too many voxels are darker than it, or the units are not
            those of the window.
    """
    pairs = list(zip(images, masks, strict=True))
    inside = np.concatenate([image.ravel() if mask is None else image[mask] for image, mask in pairs])
    edges = np.concatenate([_edges(image) for image in images])
    is_masked = all(mask is not None for mask in masks)
    if definition.window is not None:
        values = np.concatenate([image.ravel() for image in images]) if is_masked else inside
        background = None if is_masked else _most_frequent(edges)
        check_window_units(values, inside, background, definition.window, definition.name, path)
        return definition.window
    # A definition without a window has a percentile.
    assert definition.percentile is not None
    return _percentile_range(inside, edges, is_masked, definition.percentile, path)


def _edges(image: np.ndarray) -> np.ndarray:
    """Returns the voxels along the 12 edges of a volume, or the 4 of a slice, which the anatomy does not reach."""
    ends = [0, -1]
    lines = image[ends][:, ends], image[ends][:, :, ends], image[:, ends][:, :, ends]
    return np.concatenate([line.ravel() for line in lines])


def _most_frequent(edges: np.ndarray) -> float | None:
    """Returns the value of most voxels along the edges; None if there is none."""
    values, counts = np.unique(edges, return_counts=True)
    return float(values[counts.argmax()]) if counts.max() >= BACKGROUND_SHARE * edges.size else None


def _percentile_range(
    values: np.ndarray, edges: np.ndarray, is_masked: bool, percentile: float, path: pathlib.Path
) -> tuple[float, float]:
    """Returns the background, and the percentile of the voxels, which are those inside the mask if there is one."""
    background, noise = _find_background(values, edges)
    lows = [background or 0.0]
    if is_masked:
        # The outside is known to be background, so the darkest voxels inside may be black.
        lows += [0.0, float(np.percentile(values, 100 - percentile))]
    for low in lows:
        present = values[np.abs(values - np.float32(low)) > noise]
        high = float(np.percentile(present, percentile)) if present.size else low
        darker = np.count_nonzero(values < low - RINGING * (high - low))
        if darker <= RINGING_SHARE * present.size:
            break
    else:
        found = 'no constant background along its edges' if background is None else f'a background of {background:g}'
        raise UserError(
            f'{path}: has {found}, but {darker} voxels below {low:g} (down to {values.min():g}), so what is black is '
            'unknown; shift the intensities so that the background is the lowest, or give a mask.'
        )
    # Intensities cannot be divided by a range below the smallest normal float32.
    if high - low < np.finfo(np.float32).tiny:
        raise UserError(f'{path}: has no intensities above its background, {low:g}, to scale by; write it again.')
    _warn_of_black(values, low, high, is_background=low == background, path=path)
    darkest = float(np.percentile(present, 100 - percentile))
    if darkest > low + PALE * (high - low):
        warn(
            f'{path}: has nothing between black, {low:g}, and {darkest:g}, with white at {high:g}; if its intensities '
            'are shifted, shift them back, so that the background is 0.'
        )
    return low, high


def _find_background(values: np.ndarray, edges: np.ndarray) -> tuple[float | None, float]:
    """Returns the background, None if it is not constant, and the amplitude of its noise."""
    middle = float(np.median(edges))
    noise = NOISE * float(np.percentile(np.abs(values - np.float32(middle)), 99.9))
    background = _most_frequent(edges)
    if background is not None or np.mean(np.abs(edges - middle) <= noise) < BACKGROUND_SHARE:
        # With nothing below it, the background is one value without noise.
        return background, 0.0 if values.min() >= (background or 0.0) else noise
    return 0.0 if abs(middle) <= noise else middle, noise


def _warn_of_black(values: np.ndarray, low: float, high: float, is_background: bool, path: pathlib.Path) -> None:
    """Warns if black is not 0, and of voxels far below it."""
    if low:
        what = 'the value of its background' if is_background else 'that of the darkest voxels inside its mask'
        warn(f'{path}: {low:g}, {what}, is used as black, not 0.')
    deep = np.count_nonzero(values < low - DEEP * (high - low))
    if deep:
        warn(f'{path}: {deep} voxels are far below black, {low:g}: down to {values.min():g}; they become black.')
