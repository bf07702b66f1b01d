"""Variogram score of sampled volumes: whether voxels differ from each other as those of the truth do."""

from collections.abc import Sequence

import numpy as np
import scoringrules

ORDER = 0.5
NUM_PAIRS = 2000
LONGEST_DISTANCE = 16
# Pairs that are drawn for each one that is kept: the second voxel may lie outside of the mask.
_CANDIDATES = 8


def variogram_score(truth: np.ndarray, samples: np.ndarray, mask: np.ndarray, seed: int | Sequence[int]) -> float:
    """Scores samples by the differences between voxels (Scheuerer and Hamill 2015).

    #### Mathematical Details

    ```none
    score = mean over pairs (i, j) of (|y_i - y_j|^p - mean over samples of |x_i - x_j|^p)^2,   p = 0.5
    ```

    Pairs are random: see `draw_pairs`. The score of few samples is higher than that of many from the same distribution.

    Args:
        truth: `[K, H, W]`.
        samples: `[N, K, H, W]`.
        mask: bool `[K, H, W]`, the voxels to score.
        seed: Seed of the pairs.

    Returns:
        The score, at least 0; 0 is best. NaN if there are no pairs.
    """
    first, second = draw_pairs(mask, seed)
    if not len(first):
        return np.nan
    observed = np.stack([truth[tuple(at.T)] for at in (first, second)], axis=-1)
    drawn = np.stack([samples[(slice(None), *at.T)] for at in (first, second)], axis=-1)
    scores = scoringrules.vs_ensemble(observed, np.moveaxis(drawn, 0, 1), p=ORDER)
    # The library's sum has both orders of a pair.
    return float(np.mean(scores, dtype=np.float64)) / 2


def draw_pairs(mask: np.ndarray, seed: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws pairs of voxels inside a mask.

    The first voxel is uniform in the mask. The second lies in a uniform direction at a distance between 1 and 16
    voxels, uniform in its logarithm, so that near and far pairs count; pairs that leave the mask are drawn again.

    Args:
        mask: bool `[K, H, W]`.
        seed: Seed of the pairs.

    Returns:
        Indices `[P, 3]` of the first and of the second voxels, P at most 2000: fewer only if the mask is tiny.
    """
    rng = np.random.default_rng(seed)
    inside = np.argwhere(mask)
    if not len(inside):
        return inside, inside
    count = _CANDIDATES * NUM_PAIRS
    first = inside[rng.integers(len(inside), size=count)]
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distances = LONGEST_DISTANCE ** rng.random((count, 1))
    second = np.rint(first + distances * directions).astype(int)
    kept = np.all((second >= 0) & (second < mask.shape), axis=1)
    kept[kept] = mask[tuple(second[kept].T)]
    return first[kept][:NUM_PAIRS], second[kept][:NUM_PAIRS]
