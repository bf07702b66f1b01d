"""How likely the slices of a scan are, given those that are its contexts."""

import dataclasses

import numpy as np

from tfp_bruno.reconstruction.contexts import Contexts


@dataclasses.dataclass(frozen=True)
class SliceScores:
    """Scores of m slices, ascending in position.

    Attributes:
        positions: their slice numbers.
        is_context: bool `[m]`; a context is scored given the other contexts.
        bits: `[m]`, bits per pixel that the model needs for the slice; 8 is ignorance, less is more likely.
        anomaly: `[m]`, nats: how much likelier the contexts make the slice; low is anomalous.
    """

    positions: tuple[int, ...]
    is_context: np.ndarray
    bits: np.ndarray
    anomaly: np.ndarray

    def rows(self) -> list[dict]:
        """Returns the scores as one dict for each slice, for JSON and tables."""
        columns = zip(self.positions, self.is_context, self.bits, self.anomaly, strict=True)
        return [
            {'slice': position, 'is_context': bool(given), 'bits_per_pixel': float(bits), 'anomaly_score': float(score)}
            for position, given, bits, score in columns
        ]


def score_slices(scorer, contexts: Contexts) -> SliceScores:
    """Scores every slice that was read: the contexts, and the others of the scan where there is a whole one.

    Args:
        scorer: callable of (images, slices, context images, context slices) that returns bits and anomaly scores, such
            as `tfp_bruno.runs.SliceScorer`.
        contexts: what was read.

    Returns:
        The SliceScores; of no slice if nothing was read.
    """
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
