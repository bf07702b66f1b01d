"""Whether the model knows what it does not know: coverage of intervals and CRPS inside the mask. No TensorFlow."""

from collections.abc import Sequence

import numpy as np
import scoringrules

from tfp_bruno.evaluation import metrics

INTERVALS = (0.5, 0.9)
CALIBRATION_LABELS = {
    **{f'coverage_{100 * share:.0f}': f'inside the central {100 * share:.0f} %' for share in INTERVALS},
    'crps': 'CRPS',
}


def calibration_figures(truth: np.ndarray, samples: np.ndarray, context_slices: Sequence[int]) -> dict[str, float]:
    """Scores the samples of a volume as a distribution of each voxel, inside the mask without the contexts.

    Args:
        truth: `[K, H, W]`, the true stack in [0, 1].
        samples: `[N, K, H, W]`, N at least 2.
        context_slices: slice numbers of the contexts, which are left out.

    Returns:
        `coverage_50` and `coverage_90`, the share of true voxels inside the central interval of that probability, and
        `crps`, the fair continuous ranked probability score (Ferro 2014; by moments, Zamo and Naveau 2018), intensity,
        averaged over voxels. NaN where the mask is empty or there is one sample only.
    """
    others = np.delete(np.arange(len(truth)), np.asarray(context_slices, dtype=int))
    mask = metrics.foreground_masks(truth[others])
    values, drawn = truth[others][mask], samples[:, others][:, mask]
    if not values.size or len(samples) < 2:
        return dict.fromkeys(CALIBRATION_LABELS, np.nan)
    # The fair score by moments of sorted samples: those of pairs would take N times the memory, and as much more time.
    crps = scoringrules.crps_ensemble(values, drawn.T, estimator='pwm')
    covered = {f'coverage_{100 * share:.0f}': float(np.mean(coverage(values, drawn, share))) for share in INTERVALS}
    return covered | {'crps': float(np.mean(crps, dtype=np.float64))}


def coverage(values: np.ndarray, samples: np.ndarray, share: float) -> np.ndarray:
    """Returns how much of each value's rank among samples lies in the central interval of a probability.

    Of N samples, the rank of a value that is one more of their kind is uniform on N + 1 places. Each place stands for
    `1 / (N + 1)` of the probability, and equal values for all the places that they share: the average is right for any
    number of samples, where interpolated quantiles are too narrow for few.

    Args:
        values: `[V]`.
        samples: `[N, V]`.
        share: probability of the interval, in (0, 1).

    Returns:
        `[V]` in [0, 1].
    """
    places = len(samples) + 1
    low = np.sum(samples < values, axis=0) / places
    high = (np.sum(samples <= values, axis=0) + 1) / places
    inside = np.clip(np.minimum(high, 0.5 + share / 2) - np.maximum(low, 0.5 - share / 2), 0.0, None)
    return inside / (high - low)
