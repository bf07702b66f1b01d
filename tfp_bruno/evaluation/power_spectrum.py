"""Radial power spectra inside the mask: whether completed slices have the texture of the truth at every scale.

A slice less its mean is weighted by a taper, which falls to 0 at the border of the mask (without it, the steps at the
border would hide the spectrum at short wavelengths). The squared magnitude of its Fourier transform is summed over the
frequencies of each octave, and over the slices of a volume.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import fft, ndimage

from tfp_bruno.evaluation.metrics import foreground_masks

# Distance from the border of the mask, in pixels, at which the taper is 1.
_TAPER_PIXELS = 4.0


def log_ratios(
    truth: np.ndarray, volumes: Mapping[str, np.ndarray], context_slices: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Compares the power of volumes in every octave with that of the truth, inside the mask without the contexts.

    Args:
        truth: `[K, H, W]`, the true stack in [0, 1].
        volumes: `[N, K, H, W]` of each method by name, N at least 1.
        context_slices: Slice numbers of the contexts, which are left out.

    Returns:
        Natural logarithm of the ratio of the power to the truth's, averaged over the N volumes, for each method by
        name and each octave by its name; 0 if the texture is as strong as the truth's. NaN if the mask is empty.
    """
    masks = foreground_masks(truth)
    masks[np.asarray(context_slices, dtype=int)] = False
    shown = np.flatnonzero(masks.any(axis=(1, 2)))
    names = octave_names(truth.shape[1:])
    if not shown.size:
        return {method: dict.fromkeys(names, np.nan) for method in volumes}
    taper = make_taper(masks[shown])
    with np.errstate(divide='ignore', invalid='ignore'):
        of_truth = np.log(octave_power(truth[shown], taper))
        ratios = {
            method: np.mean([np.log(octave_power(volume[shown], taper)) - of_truth for volume in found], axis=0)
            for method, found in volumes.items()
        }
    return {method: dict(zip(names, map(float, each), strict=True)) for method, each in ratios.items()}


def octave_names(shape: Sequence[int]) -> list[str]:
    """Returns the names of the octaves of images of shape `(H, W)`: their wavelengths in pixels, '2-4', '4-8', ...

    The last octave ends at the largest power of 2 up to the shorter side.
    """
    return [f'{2**number}-{2 ** (number + 1)}' for number in range(1, _num_octaves(shape) + 1)]


def make_taper(masks: np.ndarray) -> np.ndarray:
    """Returns weights `[n, H, W]` of masks: 0 outside, and a squared sine of the distance from the border inside."""
    distances = np.stack([ndimage.distance_transform_edt(mask) for mask in masks])
    return np.square(np.sin(np.pi / 2 * np.minimum(distances / _TAPER_PIXELS, 1))).astype(np.float32)


def octave_power(images: np.ndarray, taper: np.ndarray) -> np.ndarray:
    """Returns the power of weighted images in each octave, summed over the images.

    Args:
        images: `[n, H, W]`.
        taper: `[n, H, W]`, their weights; none of an image are all 0.

    Returns:
        `[J]`, from the shortest wavelengths, 2 to less than 4 pixels, to the longest.
    """
    means = (images * taper).sum(axis=(1, 2), keepdims=True) / taper.sum(axis=(1, 2), keepdims=True)
    transformed = fft.fft2(taper * (images - means))
    power = np.square(np.abs(transformed)).sum(axis=0, dtype=np.float64)
    octaves, count = _octaves_of_frequencies(images.shape[1:]), _num_octaves(images.shape[1:])
    return np.bincount(octaves.ravel(), power.ravel(), minlength=count + 1)[1 : count + 1]


def _num_octaves(shape: Sequence[int]) -> int:
    return int(np.log2(min(shape))) - 1


def _octaves_of_frequencies(shape: Sequence[int]) -> np.ndarray:
    """Returns the number of the octave, from 1, of each frequency `[H, W]`; 0 beyond the first, and of the mean."""
    height, width = shape
    frequencies = np.hypot(*np.meshgrid(fft.fftfreq(height), fft.fftfreq(width), indexing='ij'))
    octaves = np.zeros(frequencies.shape, int)
    inside = (frequencies > 0) & (frequencies <= 0.5)
    # The logarithms of powers of 2 are exact.
    octaves[inside] = np.floor(-np.log2(frequencies[inside])).astype(int)
    return octaves
