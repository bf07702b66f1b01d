"""The completed stack of a subject, and the scores of the slices that were read, from a model."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction.contexts import Contexts

# Fewer samples give too noisy an estimate of the standard deviation, and of the ends of an interval.
MIN_SAMPLES_FOR_STD = 50
MIN_SAMPLES_FOR_INTERVAL = 100
INTERVAL = (0.025, 0.975)

# Scores images `[m, H, W]` at slices `[m]`, given context images `[n, H, W]` at context slices `[n]`; returns bits per
# pixel and anomaly scores, `[m]` each. For example a `tfp_bruno.runs.SliceScorer`.
Scorer = Callable[..., tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Completion:
    """A completed stack.

    Attributes:
        positions: The n context positions.
        contexts: float32 `[n, H, W]`, the context slices.
        mean: float32 `[K, H, W]` in [0, 1].
        std: float32 `[K, H, W]`, standard deviation of the samples; None if no samples were drawn.
        interval: float32 `[2, K, H, W]`, the quantiles 0.025 and 0.975 of the samples; None if not asked for.
        samples: float32 `[N, K, H, W]` in [0, 1], N joint samples of the whole stack.
        std_samples: Number of samples from which `std` and `interval` are computed.
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
        model: A trained model.
        contexts: float32 `[n, H, W]` in [0, 1], in the order of `positions`; n may be 0.
        positions: The n context positions k, each once.
        num_samples: N, the number of samples to keep; 0 or more.
        seed: Of the samples.
        min_samples_for_std: The least number of samples for the standard deviation; with 0, and `num_samples` 0, there
            is none.
        with_interval: Whether to compute the 95 % interval of every voxel, from at least 100 samples.
        mean: `[K, H, W]`, the prediction of the model, if it is known already.

    Returns:
        The Completion. Context slices are unchanged in the mean and in every sample; their deviation is 0.

    Raises:
        UserError: If the model returns values that are not finite.
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
        raise UserError(f'{model.name}: the model returns values that are not finite; train it again.')
    np.clip(mean, 0, 1, out=mean)
    np.clip(samples, 0, 1, out=samples)
    mean[slices] = contexts
    samples[:, slices] = contexts
    std = interval = None
    if std_samples:
        std = samples.std(axis=0)
        # Rounding can make the deviation of equal numbers positive.
        std[slices] = 0
    if with_interval:
        # Slice by slice, because `quantile` sorts a copy of its argument.
        interval = np.stack([np.quantile(samples[:, k], INTERVAL, axis=0) for k in queries], axis=1).astype(np.float32)
    return Completion(tuple(positions), batch[0], mean, std, interval, samples[:num_samples], std_samples)


@dataclasses.dataclass(frozen=True)
class SliceScores:
    """Scores of m slices, ascending in position.

    Attributes:
        positions: Their slice numbers.
        is_context: bool `[m]`; a context is scored given the other contexts.
        bits: `[m]`, negative log-density in bits per pixel; 8 is that of a uniform density over 256 grey levels.
        anomaly: `[m]`, gain of the log-density by the contexts, nats; low is anomalous.
    """

    positions: tuple[int, ...]
    is_context: np.ndarray
    bits: np.ndarray
    anomaly: np.ndarray

    def rows(self) -> list[dict[str, Any]]:
        """Returns the scores as one dict for each slice, for JSON and tables."""
        columns = zip(self.positions, self.is_context, self.bits, self.anomaly, strict=True)
        return [
            {'slice': position, 'is_context': bool(given), 'bits_per_pixel': float(bits), 'anomaly_score': float(score)}
            for position, given, bits, score in columns
        ]


def score_slices(scorer: Scorer, contexts: Contexts) -> SliceScores:
    """Scores every slice that was read: the contexts, and all other slices if there is a scan."""
    positions = np.array(contexts.positions, np.int64)
    scores = {}
    for index, position in enumerate(positions):
        others = np.delete(contexts.images, index, 0), np.delete(positions, index)
        bits, anomaly = scorer(contexts.images[index : index + 1], [position], *others)
        scores[int(position)] = True, bits[0], anomaly[0]
    if contexts.stack is not None:
        scanned, images = contexts.stack
        is_target = ~np.isin(scanned, positions)
        targets = scanned[is_target]
        bits, anomaly = scorer(images[is_target], targets, contexts.images, positions)
        scores |= {int(k): (False, b, a) for k, b, a in zip(targets, bits, anomaly, strict=True)}
    ordered = tuple(sorted(scores))
    columns = [np.array([scores[k][column] for k in ordered]) for column in range(3)]
    return SliceScores(ordered, *columns)
