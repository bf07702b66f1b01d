"""Loadings of a factor process as whole multiples of a step, which is small beside the residual, compressed."""

import math
import os
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

# Variance of the rounding errors of all factors together, relative to the residual variance, at most. Ten times
# as much lowers the in-mask SSIM of a prediction from one slice by 0.005, this by 0.001.
NOISE_SHARE = 0.001
# The step for so many factors serves fewer, too: their loadings take little room.
_LEAST_FACTORS = 100
_LARGEST = np.iinfo(np.int16).max


def quantize(loadings: np.ndarray, residual_variance: np.ndarray) -> dict[str, np.ndarray]:
    """Rounds loadings to multiples of a step of each dimension, and compresses them.

    An error of rounding is uniform in a step, so those of q factors add `q step^2 / 12` to the variance of a dimension.
    The step is such that this is `NOISE_SHARE` of the residual variance, less with fewer than 100 factors, more if 16
    bits do not suffice. Rounding twice is the same as rounding once.

    Args:
        loadings: float32 `[K, D, q]`, finite.
        residual_variance: `[D]`, positive.

    Returns:
        Arrays for `dequantize`: step `[D]`, compressed bytes, and how many of them the low and the high bytes of each
        plane take.

    Raises:
        ValueError: If a value is not finite.
    """
    if not (np.isfinite(loadings).all() and np.isfinite(residual_variance).all()):
        raise ValueError('`loadings` and `residual_variance` must be finite.')
    num_factors = max(loadings.shape[-1], _LEAST_FACTORS)
    step = np.sqrt(12.0 * NOISE_SHARE * residual_variance.astype(np.float64) / num_factors)
    step = np.maximum(step, np.abs(loadings).max(axis=(0, 2)) / _LARGEST).astype(np.float32)
    parts: list[bytes] = []
    before = np.zeros(loadings.shape[1:], np.int16)
    for plane in loadings:
        codes = np.rint(plane / step[:, np.newaxis]).astype(np.int16)
        # Neighbouring planes resemble each other. A difference that exceeds 16 bits wraps around, and its sum back.
        difference, before = codes - before, codes
        low = difference.astype(np.int8)
        high = ((difference - low) >> 8).astype(np.int8)
        parts += [_compress(low), _compress(high)]
    return {
        'step': step,
        'sizes': np.array([len(part) for part in parts]),
        'bytes': np.frombuffer(b''.join(parts), np.uint8),
    }


def dequantize(arrays: Mapping[str, np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the rounded loadings, float32 `[K, D, q]`.

    Args:
        arrays: The result of `quantize`.
        shape: `(K, D, q)`.

    Raises:
        ValueError: If the arrays are of another shape, or damaged.
    """
    num_planes, size, _ = shape
    step, sizes, code = arrays['step'], arrays['sizes'], arrays['bytes']
    if step.shape != (size,) or sizes.shape != (2 * num_planes,):
        raise ValueError('they have another shape')
    ends = np.cumsum(sizes)
    parts = [code[end - length : end].tobytes() for end, length in zip(ends, sizes, strict=True)]
    loadings, codes = np.empty(shape, np.float32), np.zeros(shape[1:], np.int16)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        differences = pool.map(lambda part: _decompress(part, shape[1:]), parts)
        for plane in loadings:
            low, high = next(differences), next(differences)
            if low is not None:
                codes += low
            if high is not None:
                codes += high.astype(np.int16) << 8
            np.multiply(codes, step[:, np.newaxis], out=plane)
    return loadings


def _compress(part: np.ndarray) -> bytes:
    """Returns numbers of 8 bits compressed; nothing if all are 0."""
    # They repeat no patterns, so only their frequencies count: the result is smaller here, and much faster.
    coder = zlib.compressobj(strategy=zlib.Z_HUFFMAN_ONLY, memLevel=zlib.DEF_MEM_LEVEL + 1)
    return coder.compress(part.tobytes()) + coder.flush() if part.any() else b''


def _decompress(compressed: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns numbers of 8 bits; None if all are 0."""
    if not compressed:
        return None
    size = math.prod(shape)
    # No more than was asked for: a damaged or hostile file could hold any number of bytes.
    try:
        found = zlib.decompressobj().decompress(compressed, size + 1)
    except zlib.error as error:
        raise ValueError(f'a plane is damaged ({error})') from error
    if len(found) != size:
        raise ValueError('a plane has another size')
    return np.frombuffer(found, np.int8).reshape(shape)
