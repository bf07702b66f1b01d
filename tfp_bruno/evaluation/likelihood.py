"""Bits per dimension: how well a model expects slices that it has not seen."""

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data.encoding import LEVELS, dequantise

NUM_LIKELIHOOD_SLICES = 9


def bits_per_dimension(model: CompletionModel, images: np.ndarray, seed: int) -> np.ndarray:
    """Gives the code length of slices of each subject under the model's joint density.

    Convention: M = 9 slices spread evenly over the stack, their joint density without contexts. Intensities are rounded
    to 256 grey levels and u / 256 with u uniform in [0, 1) is added (the density of noise-free values, background
    exactly 0 among them, would have no bound); the density on [0, 1] is expressed per grey level:

        bits = -log_prob / (M H W log 2) + 8

    It bounds from above the bits per pixel that a lossless coder built on the model would need; 8 is the uniform
    density.

    Args:
        model: a trained model.
        images: `[S, K, H, W]` in [0, 1].
        seed: of the noise.

    Returns:
        `[S]`, one figure for each subject.
    """
    slices = spread_over_stack(min(NUM_LIKELIHOOD_SLICES, images.shape[1]), images.shape[1])
    # One subject at a time: the same memory for any number of them, and always the same shape.
    log_probs = [
        np.asarray(model.log_prob(dequantise(stack[None, slices], (seed, subject)), slices))[0]
        for subject, stack in enumerate(images)
    ]
    dimensions = len(slices) * np.prod(images.shape[2:])
    return -np.array(log_probs, dtype=np.float64) / (dimensions * np.log(2)) + np.log2(LEVELS)


def spread_over_stack(count: int, num_slices: int) -> np.ndarray:
    """Returns the middle slice of each of `count` equal parts of a stack of `num_slices`, as `[count]` integers."""
    return ((np.arange(count) + 0.5) * num_slices / count).astype(int)
