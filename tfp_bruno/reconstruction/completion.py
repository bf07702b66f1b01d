"""Asking a model for the whole stack, given a few of its slices."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.errors import UserError

# Fewer samples than this say little about the spread, and about the ends of an interval.
MIN_SAMPLES_FOR_STD = 50
MIN_SAMPLES_FOR_INTERVAL = 100
INTERVAL = (0.025, 0.975)


@dataclasses.dataclass(frozen=True)
class Completion:
    """A completed stack.

    Attributes:
        positions: the n context positions.
        contexts: float32 `[n, H, W]`, the context slices.
        mean: float32 `[K, H, W]` in [0, 1].
        std: float32 `[K, H, W]`, standard deviation of the samples; None if no samples were drawn.
        interval: float32 `[2, K, H, W]`, the quantiles 0.025 and 0.975 of the samples; None if not asked for.
        samples: float32 `[N, K, H, W]` in [0, 1], N joint samples of the whole stack.
        std_samples: how many samples `std` and `interval` are made of.
    """

    positions: tuple[int, ...]
    contexts: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None
    interval: np.ndarray | None
    samples: np.ndarray
    std_samples: int


def complete(
    model: CompletionModel,
    contexts: np.ndarray,
    positions: Sequence[int],
    num_samples: int,
    seed: int,
    min_samples_for_std: int = MIN_SAMPLES_FOR_STD,
    with_interval: bool = False,
    mean: np.ndarray | None = None,
) -> Completion:
    """Completes a stack from its context slices.

    Args:
        model: a trained model.
        contexts: float32 `[n, H, W]` in [0, 1], in the order of `positions`; n may be 0.
        positions: the n context positions k, each once.
        num_samples: N, the samples to keep; 0 or more.
        seed: of the samples.
        min_samples_for_std: samples that the standard deviation is made of at least; 0 for none where no samples are
            kept.
        with_interval: whether to give the 95 % interval of every voxel, of 100 samples at least.
        mean: `[K, H, W]`, what the model predicts, where it is known already.

    Returns:
        The Completion. Context slices stay in the mean and in every sample as they were seen; their deviation is 0.

    Raises:
        UserError: if the model gives values that are not finite.
    """
    slices = np.array(positions, dtype=np.int64)
    queries = np.arange(model.definition.num_slices)
    batch = np.asarray(contexts, dtype=np.float32)[np.newaxis]
    std_samples = max(num_samples, min_samples_for_std, MIN_SAMPLES_FOR_INTERVAL if with_interval else 0)
    mean = np.array(model.predict(batch, slices, queries)[0] if mean is None else mean, dtype=np.float32)
    samples = np.zeros((0, *mean.shape), np.float32)
    if std_samples:
        samples = np.array(model.sample(batch, slices, queries, std_samples, seed)[:, 0], dtype=np.float32)
    if not (np.isfinite(mean).all() and np.isfinite(samples).all()):
        raise UserError(f'{model.name}: the model gives values that are not finite; train it again.')
    np.clip(mean, 0, 1, out=mean)
    np.clip(samples, 0, 1, out=samples)
    mean[slices] = contexts
    samples[:, slices] = contexts
    std = interval = None
    if std_samples:
        std = samples.std(axis=0)
        # The rounding of a mean of equal numbers is no spread.
        std[slices] = 0
    if with_interval:
        # Slice by slice: the whole would be sorted in a copy.
        interval = np.stack([np.quantile(samples[:, k], INTERVAL, axis=0) for k in queries], axis=1).astype(np.float32)
    return Completion(tuple(positions), batch[0], mean, std, interval, samples[:num_samples], std_samples)
