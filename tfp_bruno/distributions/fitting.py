"""Parameters of processes fitted to samples in closed form, in NumPy."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import scipy.linalg
from tensorflow_probability.python.math import psd_kernels

from tfp_bruno.distributions.base import Process

# One subject in five is held out to measure the residual of the components, on every second slice.
_LEFT_OUT = 5
_THINNING = 2
# How many distances between slices the correlation is fitted at, and how many length scales are tried.
_DISTANCES = 3
_LENGTHS = 200
# Number of components, each a whole volume, that are transformed together.
_TRANSFORMED_AT_ONCE = 50


@dataclasses.dataclass(frozen=True)
class FactorMoments:
    """Fitted parameters of a factor process.

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


def fit_factor_moments(
    samples: np.ndarray,
    num_factors: int,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
    make_kernel: Callable[..., psd_kernels.PositiveSemidefiniteKernel] = psd_kernels.MaternOneHalf,
    subjects: np.ndarray | None = None,
) -> FactorMoments:
    """Fits the parameters of a factor process to samples whose mean over the subjects is zero.

    Principal components of whole subjects become the loadings. What they do not explain of held-out subjects determines
    the residual: its variance, its correlation between slices, the kernel's length scale, and for a Student-t the
    degrees of freedom.

    Args:
        samples: `[S, K, D]`, float32 or float16: S >= 3 subjects with K >= 3 vectors at neighbouring positions each.
        num_factors: Number of factors, q; components beyond the S - 1st have loadings of zero.
        transform: Linear map from arrays `[..., D]` to `[..., D]`; the parameters are those of transformed samples.
            `None`: the identity.
        make_kernel: Class of the residual's kernel over positions; its argument is `length_scale`.
        subjects: Subject of each sample, integers `[S]`. The first sample of a subject is the subject itself; the
            others are augmented copies, which only the components use. `None`: each its own.
    """
    transform = transform or (lambda vectors: vectors)
    num_samples, slices, dimension = samples.shape
    subjects = np.arange(num_samples) if subjects is None else np.asarray(subjects)
    step = thinning(slices)
    # There may be thousands of volumes: nothing here copies them.
    products = _inner_products(samples, range(0, slices, step))
    residual = held_out_residual(samples[:, ::step], num_factors, subjects, products)
    correlation, length = fit_kernel(residual, step, make_kernel)
    variance = np.maximum(np.mean(transform(residual) ** 2, axis=(0, 1)), 1e-4)
    energy = np.mean(residual**2, axis=(1, 2))
    # Under a Student-t, the energy of many numbers is inverse-gamma distributed, with relative variance 2 / (df - 4).
    spread = np.var(energy) / np.mean(energy) ** 2
    df = float(np.clip(4.0 + 2.0 / max(float(spread), 1e-9), 4.5, 1000.0))
    products += _inner_products(samples, [index for index in range(slices) if index % step])
    axes, deviations = principal_axes(samples, num_factors, products)
    loadings = np.zeros([slices, dimension, num_factors], np.float32)
    for some in np.array_split(np.arange(len(axes)), -(-len(axes) // _TRANSFORMED_AT_ONCE)):
        rotated = transform(axes[some] * deviations[some, np.newaxis, np.newaxis])
        loadings[..., some] = np.moveaxis(rotated, 0, -1)
    return FactorMoments(loadings, variance, correlation, length, df)


def held_out_residual(
    samples: np.ndarray, num_factors: int, subjects: np.ndarray | None = None, products: np.ndarray | None = None
) -> np.ndarray:
    """Returns what the principal components of four fifths of the subjects do not explain of the others.

    Args:
        samples: `[S, K, D]`, as those of `fit_factor_moments`.
        num_factors: Number of components.
        subjects: Subject of each sample, integers `[S]`; `None`: each its own.
        products: Inner products of the samples, float64 `[S, S]`; `None`: computed here.

    Returns:
        float32 `[S', K, D]`, the first sample of each subject that is held out.
    """
    subjects = np.arange(len(samples)) if subjects is None else subjects
    left_out = subjects % _LEFT_OUT == 0
    axes, _ = principal_axes(samples, num_factors, products, ~left_out)
    axes = axes.reshape(len(axes), -1)
    first = originals(subjects)
    unseen = samples[first[left_out[first]]].astype(np.float32)
    flat = unseen.reshape(len(unseen), -1)
    flat -= (flat @ axes.T) @ axes
    return flat.reshape(unseen.shape)


def originals(subjects: np.ndarray) -> np.ndarray:
    """Returns the indices of the first sample of each subject, which is the subject itself, not an augmented copy."""
    return np.unique(subjects, return_index=True)[1]


def thinning(num_slices: int) -> int:
    """Returns the distance between the slices that a fit uses: at least three slices."""
    return max(1, min(_THINNING, (num_slices - 1) // 2))


def principal_axes(
    samples: np.ndarray, count: int, products: np.ndarray | None = None, chosen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the principal components of samples about zero, which may differ from their mean.

    Args:
        samples: `[S, K, D]`, float32 or float16, S much smaller than K D.
        count: How many components; at most S - 1 are returned.
        products: Inner products of the samples, float64 `[S, S]`; `None`: computed here.
        chosen: Which samples count, boolean `[S]`; S is then their number. `None`: all.

    Returns:
        axes: `[min(count, S - 1), K, D]`, float32, orthonormal, the largest first.
        deviations: Standard deviations along the axes, float32 `[min(count, S - 1)]`.
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


def _inner_products(samples: np.ndarray, slices: Iterable[int]) -> np.ndarray:
    """Returns the inner products of samples `[S, K, D]` over some slices, float64 `[S, S]`."""
    products = np.zeros([len(samples)] * 2)
    for index in slices:
        each = samples[:, index].astype(np.float32)
        products += each @ each.T
    return products


def fit_kernel(
    residual: np.ndarray,
    step: int,
    make_kernel: Callable[..., psd_kernels.PositiveSemidefiniteKernel] = psd_kernels.MaternOneHalf,
) -> tuple[float, float]:
    """Fits `share * k(distance)` to the correlation between slices at a few distances, by least squares.

    Args:
        residual: `[S, n, D]`, float32, n >= 3: slices that lie `step` apart.
        step: Distance between neighbouring slices.
        make_kernel: Class of the kernel over positions; its argument is `length_scale`.

    Returns:
        share: In [0.05, 0.97].
        length: Length scale of the kernel, in [step / 4, 10 step].
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


def dimension_variance(samples: np.ndarray) -> np.ndarray:
    """Returns the variance `[D]` of samples `[S, n, D]` about zero, at least 1e-4."""
    return np.maximum(np.mean(samples**2, axis=(0, 1)), 1e-4)


def assign_moments(process: Process, variance: np.ndarray, correlation: np.ndarray) -> None:
    """Assigns moments `[D]` to the marginal variance of a process, and to its correlation where that is a variable."""
    process.marginal_variance.assign(variance.astype(np.float32))
    if hasattr(process.correlation, 'assign'):
        process.correlation.assign(np.clip(correlation, 0.02, 0.95).astype(np.float32))
