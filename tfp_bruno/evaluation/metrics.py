"""The scores of one completed volume, and their averages over subjects.

Slices are scored by the structural similarity of Wang et al. 2004 (Image quality assessment: from error visibility to
structural similarity), with its 11 x 11 Gaussian window of sigma 1.5 and a data range of 1. Much of a slice is
background, so the scores to compare are those inside the mask of the true slices, without the context slices.
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
        scores: The scores by name: `ssim`, `cc` and `mse` over all slices, the same with `_no_contexts` over the
            slices that are not contexts, and `mask_ssim`, `mask_cc`, `sharpness` inside the mask without the
            contexts. NaN if there is nothing to score.
        ssim_over_slices: `[K]`, SSIM of each slice.
    """

    scores: Mapping[str, float]
    ssim_over_slices: np.ndarray


def score_volume(truth: np.ndarray, prediction: np.ndarray, context_slices: Sequence[int]) -> VolumeScores:
    """Scores one completed volume.

    Args:
        truth: `[K, H, W]`, the true stack in [0, 1].
        prediction: `[K, H, W]`, the completed stack, every slice predicted.
        context_slices: Slice numbers of the contexts, left out of the scores without contexts.

    Returns:
        The scores.

    Raises:
        ValueError: If the two are not stacks of one shape, or a slice is smaller than SSIM's window.
    """
    if truth.ndim != 3 or truth.shape != prediction.shape or min(truth.shape[1:]) <= 2 * _WINDOW_RADIUS:
        raise ValueError(
            f'`truth` and `prediction`: must be [K, H, W] of one shape, H and W above {2 * _WINDOW_RADIUS}, '
            f'not {truth.shape} and {prediction.shape}.'
        )
    truth, prediction = np.asarray(truth, np.float32), np.asarray(prediction, np.float32)
    others = np.delete(np.arange(len(truth)), np.asarray(context_slices, dtype=int))
    similarity = ssim_map(truth, prediction)
    over_slices = ssim_over_slices(similarity)
    scores = {'ssim': _mean(over_slices), 'cc': correlation(truth, prediction), 'mse': _mse(truth, prediction)}
    scores['ssim_no_contexts'] = _mean(over_slices[others])
    scores['cc_no_contexts'] = correlation(truth[others], prediction[others])
    scores['mse_no_contexts'] = _mse(truth[others], prediction[others])
    scores |= mask_scores(truth[others], prediction[others], similarity[others])
    return VolumeScores(scores, over_slices)


def ssim_map(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Returns the map of structural similarity (SSIM) of every slice.

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
    """Averages maps of SSIM over each slice, without the border where the window reaches beyond the image.

    Args:
        similarity: `[K, H, W]`, from `ssim_map`.

    Returns:
        `[K]`.
    """
    inner = slice(_WINDOW_RADIUS, -_WINDOW_RADIUS)
    return similarity[:, inner, inner].mean(axis=(1, 2), dtype=np.float64)


def mask_scores(truth: np.ndarray, prediction: np.ndarray, similarity: np.ndarray) -> dict[str, float]:
    """Scores the pixels inside the mask: where the true slice is above 0.02, in slices with at least 30 such pixels.

    Args:
        truth: `[K, H, W]`, the slices that are not contexts.
        prediction: `[K, H, W]`.
        similarity: `[K, H, W]`, from `ssim_map`.

    Returns:
        `mask_ssim`, the map averaged inside the mask of each slice and then over slices; `mask_cc`, the correlation
        over all pixels of the mask; `sharpness`, the mean gradient magnitude in the mask divided by the truth's, 1 if
        the prediction is as sharp as the truth. NaN if the mask is empty.
    """
    masks = foreground_masks(truth)
    true_gradient = _mean(gradient_magnitude(truth)[masks])
    return {
        'mask_ssim': _mean([_mean(values[mask]) for values, mask in zip(similarity, masks, strict=True) if mask.any()]),
        'mask_cc': correlation(truth[masks], prediction[masks]),
        'sharpness': _mean(gradient_magnitude(prediction)[masks]) / true_gradient if true_gradient else np.nan,
    }


def foreground_masks(truth: np.ndarray) -> np.ndarray:
    """Returns the pixels `[K, H, W]` of true slices above 0.02; none of a slice with fewer than 30 of them."""
    masks = truth > FOREGROUND_THRESHOLD
    return masks & (masks.sum(axis=(1, 2)) >= MIN_MASK_PIXELS)[:, None, None]


def gradient_magnitude(images: np.ndarray) -> np.ndarray:
    """Returns the magnitude of the in-plane gradient, by forward differences; 0 across the last row and column.

    Forward differences respond to the finest texture, which central differences miss.

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
        truth: Array of any shape.
        prediction: Array of the same shape.

    Returns:
        The correlation; 0 if the prediction is constant; NaN if the truth is constant or there is no pixel.
    """
    if not truth.size or np.ptp(truth) == 0:
        return np.nan
    if np.ptp(prediction) == 0:
        return 0.0
    truth, prediction = (values.ravel() - values.mean(dtype=np.float64) for values in (truth, prediction))
    return float(truth @ prediction / np.sqrt((truth @ truth) * (prediction @ prediction)))


def average_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Averages scores by name, over the samples of one subject or over subjects; NaN and infinity are left out.

    Args:
        scores: At least one set of scores, all with the same names.

    Returns:
        The averages by name.
    """
    return {name: _mean_of_finite([each[name] for each in scores]) for name in scores[0]}


def standard_errors(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the standard errors of `average_scores` over subjects, by name; NaN for fewer than two subjects."""
    return {name: _standard_error([each[name] for each in scores]) for name in scores[0]}


def with_psnr(averages: Mapping[str, float], errors: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Replaces squared errors by peak signal-to-noise ratios.

    The ratio is that of the squared error averaged over subjects, so that one perfect volume does not make it
    infinite. Its standard error follows from that of the squared error, to first order.

    Args:
        averages: Scores averaged over subjects, `mse` and `mse_no_contexts` among them.
        errors: Their standard errors.

    Returns:
        Both with `psnr` and `psnr_no_contexts` in dB instead; infinite if the squared error is 0.
    """
    averages, errors = dict(averages), dict(errors)
    for ending in ('', '_no_contexts'):
        mse, error = averages.pop(f'mse{ending}'), errors.pop(f'mse{ending}')
        averages[f'psnr{ending}'] = float(-10 * np.log10(mse)) if mse else np.inf
        errors[f'psnr{ending}'] = float(10 / np.log(10) * error / mse) if mse else np.nan
    return averages, errors


def _mse(truth: np.ndarray, prediction: np.ndarray) -> float:
    return _mean(np.square(truth - prediction))


def _mean(values: np.ndarray | Sequence[float]) -> float:
    return float(np.mean(values, dtype=np.float64)) if np.size(values) else np.nan


def _mean_of_finite(values: Sequence[float]) -> float:
    return _mean(np.asarray(values)[np.isfinite(values)])


def _standard_error(values: Sequence[float]) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.std(ddof=1) / np.sqrt(len(finite))) if len(finite) > 1 else np.nan
