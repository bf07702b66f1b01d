"""Parameters of processes fitted to samples in closed form, in NumPy."""

import dataclasses

import numpy as np
import scipy.linalg
from tensorflow_probability.python.math import psd_kernels

__all__ = [
    'FactorMoments',
    'assign_moments',
    'dimension_variance',
    'fit_factor_moments',
    'fit_kernel',
    'originals',
    'principal_axes',
    'thinning',
]

# One subject in five is held out to measure the residual of the components, on every second slice.
_LEFT_OUT = 5
_THINNING = 2
# Numbers of distances at which the correlation between slices is fitted, and of length scales that are tried.
_DISTANCES = 3
_LENGTHS = 200
# Number of components, each a whole volume, that are transformed together.
_TRANSFORMED_AT_ONCE = 50


@dataclasses.dataclass(frozen=True)
class FactorMoments:
    """Parameters of a factor process, fitted in closed form.

    Attributes:
        loadings: `[K, D, q]`, principal components times their standard deviations.
        variance: `[D]`, residual variance of held-out subjects.
        correlation: Share of the residual variance that is correlated between slices; the rest is noise.
        length: Length scale of the kernel, in slices.
        df: Degrees of freedom, from the spread of the residual's energy over the subjects, in [4.5, 1000].
    """

    loadings: np.ndarray
    variance: np.ndarray
    correlation: float
    length: float
    df: float


def fit_factor_moments(samples, num_factors, transform=None, make_kernel=psd_kernels.MaternOneHalf, subjects=None):
    """Fits the parameters of a factor process to samples whose mean over the subjects is zero.

    Args:
        samples: float32 or float16 array `[S, K, D]`, S >= 3 subjects with K >= 3 vectors at neighbouring positions
            each.
        num_factors: Integer q; components beyond the S - 1st have loadings of zero.
        transform: Linear map from arrays `[..., D]` to `[..., D]`; the parameters are those of transformed samples.
            Default value: `None`, the identity.
        make_kernel: Callable from a length scale to the residual's kernel over positions.
        subjects: Integers `[S]`, the subject that each sample is of. Of samples of one subject, the first is the
            subject itself, and the others are altered copies, which count for the components alone. Default value:
            `None`, each its own.

    Returns:
        `FactorMoments`.
    """
    transform = transform or (lambda vectors: vectors)
    num_samples, slices, dimension = samples.shape
    subjects = np.arange(num_samples) if subjects is None else np.asarray(subjects)
    step = thinning(slices)
    # There may be thousands of volumes: nothing here copies them.
    products = _inner_products(samples, range(0, slices, step))
    left_out = subjects % _LEFT_OUT == 0
    axes, _ = principal_axes(samples[:, ::step], num_factors, products, ~left_out)
    axes = axes.reshape(len(axes), -1)
    first = originals(subjects)
    unseen = samples[first[left_out[first]], ::step].astype(np.float32)
    residual = unseen.reshape(len(unseen), -1)
    residual -= (residual @ axes.T) @ axes
    residual = residual.reshape(unseen.shape)
    correlation, length = fit_kernel(residual, step, make_kernel)
    variance = np.maximum(np.mean(transform(residual) ** 2, axis=(0, 1)), 1e-4)
    energy = np.mean(residual**2, axis=(1, 2))
    # Under a Student-t, the energy of many numbers is inverse-gamma distributed, with relative variance 2 / (df - 4).
    spread = np.var(energy) / np.mean(energy) ** 2
    df = float(np.clip(4.0 + 2.0 / max(spread, 1e-9), 4.5, 1000.0))
    products += _inner_products(samples, [index for index in range(slices) if index % step])
    axes, deviations = principal_axes(samples, num_factors, products)
    loadings = np.zeros([slices, dimension, num_factors], np.float32)
    for some in np.array_split(np.arange(len(axes)), -(-len(axes) // _TRANSFORMED_AT_ONCE)):
        rotated = transform(axes[some] * deviations[some, np.newaxis, np.newaxis])
        loadings[..., some] = np.moveaxis(rotated, 0, -1)
    return FactorMoments(loadings, variance, correlation, length, df)


def originals(subjects):
    """Returns the indices of the first sample of each subject, which is the subject itself and no altered copy."""
    return np.unique(subjects, return_index=True)[1]


def thinning(num_slices):
    """Returns the distance between the slices that are used; three remain of the shortest stack."""
    return max(1, min(_THINNING, (num_slices - 1) // 2))


def principal_axes(samples, count, products=None, chosen=None):
    """Returns the principal components of samples about zero, which may differ from their mean.

    Args:
        samples: float32 or float16 array `[S, K, D]`, S much smaller than K D.
        count: Integer; at most S - 1 components are returned.
        products: float64 array `[S, S]`, the samples' inner products. Default value: `None`, computed here.
        chosen: Boolean array `[S]`, the samples to use; S is then their number. Default value: `None`, all.

    Returns:
        axes: float32 array `[min(count, S - 1), K, D]`, orthonormal, the largest first.
        deviations: float32 array `[min(count, S - 1)]`, standard deviations along them.
    """
    slices = range(samples.shape[1])
    products = _inner_products(samples, slices) if products is None else products
    rows = np.arange(len(samples)) if chosen is None else np.flatnonzero(chosen)
    number = len(rows)
    count = min(count, number - 1)
    values, vectors = scipy.linalg.eigh(
        products[np.ix_(rows, rows)] / number, subset_by_index=[number - count, number - 1]
    )
    values, vectors = np.maximum(values[::-1], 1e-12), vectors[:, ::-1]
    weights = np.zeros([count, len(samples)], np.float32)
    weights[:, rows] = (vectors / np.sqrt(values * number)).T
    axes = np.empty([count, *samples.shape[1:]], np.float32)
    for index in slices:
        axes[:, index] = weights @ samples[:, index].astype(np.float32)
    return axes, np.sqrt(values).astype(np.float32)


def _inner_products(samples, slices):
    """Returns the inner products of samples `[S, K, D]` over some slices, float64 `[S, S]`."""
    products = np.zeros([len(samples)] * 2)
    for index in slices:
        each = samples[:, index].astype(np.float32)
        products += each @ each.T
    return products


def fit_kernel(residual, step, make_kernel=psd_kernels.MaternOneHalf):
    """Fits `share * k(distance)` to the correlation between slices at a few distances, by least squares.

    Args:
        residual: float32 array `[S, n, D]`, n >= 3: slices that lie `step` apart.
        step: Distance between neighbouring slices.
        make_kernel: Callable from length scales to kernels over positions.

    Returns:
        share: `float` in [0.05, 0.97].
        length: Length scale of the kernel, `float` in [step / 4, 10 step].
    """
    power = np.mean(residual**2)
    distances = np.arange(1, min(_DISTANCES, residual.shape[1] - 1) + 1)
    observed = [np.mean(residual[:, apart:] * residual[:, :-apart]) / power for apart in distances]
    lengths = np.geomspace(step / 4, 10 * step, _LENGTHS)
    shapes = make_kernel(length_scale=lengths).matrix(np.zeros([1, 1]), step * distances[:, np.newaxis].astype(float))
    shapes = shapes.numpy()[:, 0]
    shares = np.clip(shapes @ observed / np.sum(shapes**2, axis=-1), 0.05, 0.97)
    best = np.argmin(np.sum((shares[:, np.newaxis] * shapes - observed) ** 2, axis=-1))
    return float(shares[best]), float(lengths[best])


def dimension_variance(samples):
    """Returns the variance `[D]` of samples `[S, n, D]` about zero, at least 1e-4."""
    return np.maximum(np.mean(samples**2, axis=(0, 1)), 1e-4)


def assign_moments(process, variance, correlation):
    """Assigns moments `[D]` to the marginal variance of a process, and to its correlation where that is a variable."""
    process.marginal_variance.assign(variance.astype(np.float32))
    if hasattr(process.correlation, 'assign'):
        process.correlation.assign(np.clip(correlation, 0.02, 0.95).astype(np.float32))
