"""The scores of one completed volume, and their averages over subjects. No TensorFlow.

Slices are scored by the structural similarity of Wang et al. 2004 (Image quality assessment: from error visibility to
structural similarity), with its 11 x 11 Gaussian window of sigma 1.5 and a data range of 1. Much of a slice is
background, so the figures that tell are those inside the mask of the true slices, without the context slices.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from skimage.metrics import structural_similarity

from tfp_bruno.data import FOREGROUND_THRESHOLD

MIN_MASK_PIXELS = 30

_WINDOW_SIGMA = 1.5
_WINDOW_RADIUS = 5


@dataclasses.dataclass(frozen=True)
class VolumeScores:
    """The scores of one volume against its truth.

    Attributes:
        figures: the scores by name: `ssim`, `cc` and `mse` over all slices, the same with `_no_contexts` over the
            slices that are not contexts, and `mask_ssim`, `mask_cc`, `sharpness` inside the mask without the
            contexts. NaN where there is nothing to score.
        ssim_over_slices: `[K]`, SSIM of each slice.
    """

    figures: Mapping[str, float]
    ssim_over_slices: np.ndarray


def score_volume(truth: np.ndarray, prediction: np.ndarray, context_slices: Sequence[int]) -> VolumeScores:
    """Scores one completed volume.

    Args:
        truth: `[K, H, W]`, the true stack in [0, 1].
        prediction: `[K, H, W]`, the completed stack, every slice predicted.
        context_slices: slice numbers of the contexts, left out where a figure is without contexts.

    Returns:
        The VolumeScores.

    Raises:
        ValueError: if the two are not stacks of one shape, or a slice is smaller than SSIM's window.
    """
    if truth.ndim != 3 or truth.shape != prediction.shape or min(truth.shape[1:]) <= 2 * _WINDOW_RADIUS:
        raise ValueError(
            f'truth and prediction must be [K, H, W] of one shape, H and W above {2 * _WINDOW_RADIUS}, '
            f'not {truth.shape} and {prediction.shape}'
        )
    truth, prediction = np.asarray(truth, np.float32), np.asarray(prediction, np.float32)
    others = np.delete(np.arange(len(truth)), np.asarray(context_slices, dtype=int))
    similarity = ssim_map(truth, prediction)
    over_slices = ssim_over_slices(similarity)
    figures = {'ssim': _mean(over_slices), 'cc': correlation(truth, prediction), 'mse': _mse(truth, prediction)}
    figures['ssim_no_contexts'] = _mean(over_slices[others])
    figures['cc_no_contexts'] = correlation(truth[others], prediction[others])
    figures['mse_no_contexts'] = _mse(truth[others], prediction[others])
    figures |= mask_figures(truth[others], prediction[others], similarity[others])
    return VolumeScores(figures, over_slices)


def ssim_map(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Returns the map of structural similarity of every slice.

    Args:
        truth: `[K, H, W]`.
        prediction: `[K, H, W]`.

    Returns:
        `[K, H, W]`, at most 1.
    """
    maps = [
        structural_similarity(
            true_slice,
            slice_,
            data_range=1.0,
            gaussian_weights=True,
            sigma=_WINDOW_SIGMA,
            use_sample_covariance=False,
            full=True,
        )[1]
        for true_slice, slice_ in zip(truth, prediction, strict=True)
    ]
    return np.stack(maps)


def ssim_over_slices(similarity: np.ndarray) -> np.ndarray:
    """Averages maps of structural similarity over each slice, without the border that the window overhangs.

    Args:
        similarity: `[K, H, W]`, as `ssim_map` returns it.

    Returns:
        `[K]`.
    """
    inner = slice(_WINDOW_RADIUS, -_WINDOW_RADIUS)
    return similarity[:, inner, inner].mean(axis=(1, 2), dtype=np.float64)


def mask_figures(truth: np.ndarray, prediction: np.ndarray, similarity: np.ndarray) -> dict[str, float]:
    """Scores what lies inside the mask: pixels where the true slice is above 0.02, in slices with at least 30 of them.

    Args:
        truth: `[K, H, W]`, slices without the contexts.
        prediction: `[K, H, W]`.
        similarity: `[K, H, W]`, as `ssim_map` returns it.

    Returns:
        `mask_ssim`, the map averaged inside the mask of each slice and then over slices; `mask_cc`, the correlation
        over all pixels of the mask; `sharpness`, the mean gradient magnitude in the mask over the truth's, 1 where
        the prediction is as sharp as the truth. NaN where the mask is empty.
    """
    masks = foreground_masks(truth)
    true_gradient = _mean(gradient_magnitude(truth)[masks])
    return {
        'mask_ssim': _mean([_mean(values[mask]) for values, mask in zip(similarity, masks, strict=True) if mask.any()]),
        'mask_cc': correlation(truth[masks], prediction[masks]),
        'sharpness': _mean(gradient_magnitude(prediction)[masks]) / true_gradient if true_gradient else np.nan,
    }


def foreground_masks(truth: np.ndarray) -> np.ndarray:
    """Returns where true slices `[K, H, W]` are above 0.02; nowhere in slices with fewer than 30 such pixels."""
    masks = truth > FOREGROUND_THRESHOLD
    return masks & (masks.sum(axis=(1, 2)) >= MIN_MASK_PIXELS)[:, None, None]


def gradient_magnitude(images: np.ndarray) -> np.ndarray:
    """Returns the length of the in-plane gradient, by differences to the next pixel; 0 across the last row and column.

    Differences between neighbours see the finest grain, which central differences pass over.

    Args:
        images: `[..., H, W]`.

    Returns:
        `[..., H, W]`, intensity per pixel.
    """
    down = np.diff(images, axis=-2, append=images[..., -1:, :])
    across = np.diff(images, axis=-1, append=images[..., -1:])
    return np.hypot(down, across)


def correlation(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Returns Pearson's correlation over all pixels.

    Args:
        truth: any shape.
        prediction: of the same shape.

    Returns:
        The correlation; 0 if the prediction is constant, which says nothing about the truth; NaN if the truth is
        constant or there is no pixel.
    """
    if not truth.size or np.ptp(truth) == 0:
        return np.nan
    if np.ptp(prediction) == 0:
        return 0.0
    truth, prediction = (values.ravel() - values.mean(dtype=np.float64) for values in (truth, prediction))
    return float(truth @ prediction / np.sqrt((truth @ truth) * (prediction @ prediction)))


def average_figures(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Averages scores by name, over the samples of one subject or over subjects; NaNs are left out.

    Args:
        figures: at least one set of scores, all with the same names.

    Returns:
        The averages by name.
    """
    return {name: _mean_of_finite([one[name] for one in figures]) for name in figures[0]}


def standard_errors(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Gives the standard error over subjects of the averages of `average_figures`; NaN for fewer than two subjects."""
    return {name: _standard_error([one[name] for one in figures]) for name in figures[0]}


def with_psnr(averages: Mapping[str, float], errors: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Replaces squared errors by peak signal-to-noise ratios.

    The ratio is taken of the squared error averaged over subjects, so that one perfect volume does not make it
    infinite. Its standard error is the squared error's, carried over to first order.

    Args:
        averages: scores averaged over subjects, `mse` and `mse_no_contexts` among them.
        errors: their standard errors.

    Returns:
        Both with `psnr` and `psnr_no_contexts` in dB instead; infinite where the squared error is 0.
    """
    averages, errors = dict(averages), dict(errors)
    for ending in ('', '_no_contexts'):
        mse, error = averages.pop(f'mse{ending}'), errors.pop(f'mse{ending}')
        averages[f'psnr{ending}'] = float(-10 * np.log10(mse)) if mse else np.inf
        errors[f'psnr{ending}'] = float(10 / np.log(10) * error / mse) if mse else np.nan
    return averages, errors


def _mse(truth, prediction):
    return _mean(np.square(truth - prediction))


def _mean(values):
    return float(np.mean(values, dtype=np.float64)) if np.size(values) else np.nan


def _mean_of_finite(values):
    return _mean(np.asarray(values)[np.isfinite(values)])


def _standard_error(values):
    values = np.asarray(values)[np.isfinite(values)]
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
