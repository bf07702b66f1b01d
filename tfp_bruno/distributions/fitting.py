"""Moments of samples that a process starts from, in NumPy."""

import dataclasses

import numpy as np

__all__ = ['FactorMoments', 'fit_exponential', 'fit_factor_moments', 'principal_axes', 'thinning']

# Every so many subjects are left out to measure what the components leave of a subject that they have not seen, on
# every so many slices.
_LEFT_OUT = 5
_THINNING = 4


@dataclasses.dataclass(frozen=True)
class FactorMoments:
    """Parameters of a factor process, fitted in closed form.

    Attributes:
        loadings: `[K, D, q]`, principal components times their standard deviations.
        variance: `[D]`, of what the components leave of subjects that they were not fitted to.
        correlation: Share of it that falls off with the distance between slices; the rest is noise.
        length: Distance in slices over which it falls off.
        df: Degrees of freedom that the spread of its energy over the subjects suggests, in [4.5, 1000].
    """

    loadings: np.ndarray
    variance: np.ndarray
    correlation: float
    length: float
    df: float


def fit_factor_moments(samples, num_factors, transform=None):
    """Fits a factor process to vectors whose mean is zero.

    Args:
        samples: float32 array `[S, K, D]`, S >= 3 subjects with K >= 3 vectors at neighbouring positions each.
        num_factors: Integer q; components beyond the S - 1st have loadings of zero.
        transform: Linear map from arrays `[..., D]` to `[..., D]`; the parameters are those of transformed samples.
            Default value: `None`, the identity.

    Returns:
        `FactorMoments`.
    """
    transform = transform or (lambda vectors: vectors)
    subjects, slices, dimension = samples.shape
    step = thinning(slices)
    left_out = np.arange(subjects) % _LEFT_OUT == 0
    thinned = samples[:, ::step].reshape(subjects, -1)
    axes, _ = principal_axes(thinned[~left_out], num_factors)
    residual = thinned[left_out] - (thinned[left_out] @ axes.T) @ axes
    residual = residual.reshape(int(left_out.sum()), -1, dimension)
    correlation, length = fit_exponential(residual, step)
    variance = np.maximum(np.mean(transform(residual) ** 2, axis=(0, 1)), 1e-4)
    energy = np.mean(residual**2, axis=(1, 2))
    # Of a Student-t, the energy of many numbers is spread like an inverse gamma variable: its relative variance is
    # 2 / (df - 4).
    spread = np.var(energy) / np.mean(energy) ** 2
    df = float(np.clip(4.0 + 2.0 / max(spread, 1e-9), 4.5, 1000.0))
    axes, deviations = principal_axes(samples.reshape(subjects, -1), num_factors)
    rotated = transform((axes * deviations[:, np.newaxis]).reshape(-1, slices, dimension))
    loadings = np.zeros([slices, dimension, num_factors], np.float32)
    loadings[..., : len(axes)] = np.moveaxis(rotated, 0, -1)
    return FactorMoments(loadings, variance, correlation, length, df)


def thinning(num_slices):
    """Returns the distance between the slices that are looked at; three are left of the shortest stack."""
    return max(1, min(_THINNING, (num_slices - 1) // 2))


def principal_axes(samples, count):
    """Returns the principal components of samples whose mean is zero.

    Args:
        samples: float32 array `[S, N]`, S much smaller than N.
        count: Integer; at most S - 1 components are returned.

    Returns:
        axes: float32 array `[min(count, S - 1), N]`, orthonormal rows, the largest first.
        deviations: float32 array `[min(count, S - 1)]`, standard deviations along them.
    """
    count = min(count, len(samples) - 1)
    values, vectors = np.linalg.eigh((samples @ samples.T).astype(np.float64) / len(samples))
    values, vectors = np.maximum(values[::-1][:count], 1e-12), vectors[:, ::-1][:, :count]
    axes = (vectors / np.sqrt(values * len(samples))).T.astype(np.float32) @ samples
    return axes, np.sqrt(values).astype(np.float32)


def fit_exponential(residual, step):
    """Fits `share * exp(-distance / length)` to the correlation between slices at two distances.

    Args:
        residual: float32 array `[S, n, D]`, n >= 3: slices that lie `step` apart.
        step: Distance between neighbouring slices.

    Returns:
        share: `float` in [0.05, 0.97].
        length: `float` in [step / 4, 10 step].
    """
    power = np.mean(residual**2)
    near = np.mean(residual[:, 1:] * residual[:, :-1]) / power
    far = np.mean(residual[:, 2:] * residual[:, :-2]) / power
    decay = np.clip(far / max(near, 1e-6), np.exp(-4.0), np.exp(-0.1))
    return float(np.clip(near / decay, 0.05, 0.97)), float(-step / np.log(decay))
