"""Scores of the predictive distribution: of samples inside the mask, and bits per dimension."""

from collections.abc import Sequence

import numpy as np
import scoringrules

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data.encoding import LEVELS, dequantise
from tfp_bruno.evaluation.metrics import foreground_masks
from tfp_bruno.evaluation.variogram import variogram_score

INTERVALS = (0.5, 0.9)
CALIBRATION_LABELS = {
    **{f'coverage_{100 * share:.0f}': f'inside the central {100 * share:.0f} %' for share in INTERVALS},
    'crps': 'CRPS',
    'variogram': 'variogram score',
}
NUM_LIKELIHOOD_SLICES = 9


def calibration_scores(
    truth: np.ndarray, samples: np.ndarray, context_slices: Sequence[int], seed: int | Sequence[int]
) -> dict[str, float]:
    """Scores samples of a volume as the distribution of its voxels, inside the mask without the context slices.

    Args:
        truth: `[K, H, W]`, the true stack in [0, 1].
        samples: `[N, K, H, W]`, N at least 2.
        context_slices: Slice numbers of the contexts, which are left out.
        seed: Seed of the pairs of voxels of the variogram score.

    Returns:
        `coverage_50` and `coverage_90`, the share of true voxels inside the central interval of that probability;
        `crps`, the fair continuous ranked probability score (Ferro 2014; by moments, Zamo and Naveau 2018), intensity,
        averaged over voxels; and `variogram`, see `variogram_score`. NaN if the mask is empty or there is only one
        sample.
    """
    mask = foreground_masks(truth)
    mask[np.asarray(context_slices, dtype=int)] = False
    values, drawn = truth[mask], samples[:, mask]
    if not values.size or len(samples) < 2:
        return dict.fromkeys(CALIBRATION_LABELS, np.nan)
    # The estimator by moments of sorted samples; the one over pairs of samples takes N times the memory and time.
    crps = scoringrules.crps_ensemble(values, drawn.T, estimator='pwm')
    covered = {f'coverage_{100 * share:.0f}': float(np.mean(coverage(values, drawn, share))) for share in INTERVALS}
    variogram = variogram_score(truth, samples, mask, seed)
    return covered | {'crps': float(np.mean(crps, dtype=np.float64)), 'variogram': variogram}


def coverage(values: np.ndarray, samples: np.ndarray, share: float) -> np.ndarray:
    """Returns the part of each value's rank among samples that lies in the central interval of a probability.

    If a value has the distribution of the N samples, its rank is uniform over N + 1 places. Each place covers a
    probability of `1 / (N + 1)`, and a value equal to some samples covers all the places that they share: the average
    is exact for any number of samples, where interpolated quantiles are too narrow for few.

    Args:
        values: `[V]`.
        samples: `[N, V]`.
        share: Probability of the interval, in (0, 1).

    Returns:
        `[V]` in [0, 1].
    """
    places = len(samples) + 1
    low = np.sum(samples < values, axis=0) / places
    high = (np.sum(samples <= values, axis=0) + 1) / places
    inside = np.clip(np.minimum(high, 0.5 + share / 2) - np.maximum(low, 0.5 - share / 2), 0.0, None)
    return inside / (high - low)


def bits_per_dimension(
    model: CompletionModel, images: np.ndarray, seed: int, numbers: Sequence[int] | None = None
) -> np.ndarray:
    """Computes the code length of slices of each subject under the model's joint density.

    Convention: M = 9 slices spread evenly over the stack, their joint density without contexts. Intensities are rounded
    to 256 grey levels and u / 256 with u uniform in [0, 1) is added (the density of noise-free values, background
    exactly 0 among them, would be unbounded); the density on [0, 1] is expressed per grey level:

        bits = -log_prob / (M H W log 2) + 8

    It is an upper bound of the bits per pixel of a lossless coder built on the model; the uniform density needs 8.

    Args:
        model: A trained model.
        images: `[S, K, H, W]` in [0, 1].
        seed: Seed of the noise.
        numbers: `[S]`, number of each subject, which has a noise of its own; None for 0, 1, ...

    Returns:
        `[S]`, the bits per dimension of each subject.
    """
    slices = spread_over_stack(min(NUM_LIKELIHOOD_SLICES, images.shape[1]), images.shape[1])
    # One subject at a time: memory does not grow with their number, and the shape is always the same.
    log_probs = [
        np.asarray(model.log_prob(dequantise(stack[None, slices], (seed, number)), slices))[0]
        for number, stack in zip(range(len(images)) if numbers is None else numbers, images, strict=True)
    ]
    dimensions = len(slices) * np.prod(images.shape[2:])
    return -np.array(log_probs, dtype=np.float64) / (dimensions * np.log(2)) + np.log2(LEVELS)


def spread_over_stack(count: int, num_slices: int) -> np.ndarray:
    """Returns the middle slice of each of `count` equal parts of a stack of `num_slices`, as `[count]` integers."""
    return ((np.arange(count) + 0.5) * num_slices / count).astype(int)
