"""The processes written out densely in NumPy and SciPy, float64: slow, plain, and independent of the library's algebra."""

import numpy as np
import scipy.special


def similarity(positions_a, positions_b, share, length):
    """`share + (1 - share) exp(-distance / length)` between positions."""
    distance = np.abs(np.subtract.outer(positions_a, positions_b))
    return share + (1 - share) * np.exp(-distance / length)


def dense_covariance(positions, variance, correlation, share, length, loadings=None):
    """Covariance `[n D, n D]` of vectors at positions, flattened with the steps outermost.

    `correlation`, `share` and `length` are arrays of one entry per dimension; `loadings` is `[n, D, q]`.
    """
    n, dimension = len(positions), len(variance)
    covariance = np.zeros((n, dimension, n, dimension))
    for d in range(dimension):
        within = correlation[d] * similarity(positions, positions, share[d], length[d])
        covariance[:, d, :, d] = variance[d] * (within + (1 - correlation[d]) * np.eye(n))
    if loadings is not None:
        covariance += np.einsum('idq,jeq->idje', loadings, loadings)
    return covariance.reshape(n * dimension, n * dimension)


def log_density(z, loc, covariance, df=None):
    """Log-density of one vector under a Gaussian (`df` None) or Student-t of that covariance."""
    n = len(z)
    _, log_det = np.linalg.slogdet(covariance)
    beta = (z - loc) @ np.linalg.solve(covariance, z - loc)
    if df is None:
        return -0.5 * (n * np.log(2 * np.pi) + log_det + beta)
    return (
        scipy.special.gammaln((df + n) / 2)
        - scipy.special.gammaln(df / 2)
        - 0.5 * (n * np.log(np.pi * (df - 2)) + log_det)
        - 0.5 * (df + n) * np.log1p(beta / (df - 2))
    )


def condition(z_seen, loc, covariance, df=None):
    """Returns (df, loc, covariance) of the remaining numbers given the first ones."""
    cut = len(z_seen)
    if not cut:
        return df, loc, covariance
    gain = np.linalg.solve(covariance[:cut, :cut], covariance[:cut, cut:]).T
    rest = covariance[cut:, cut:] - gain @ covariance[:cut, cut:]
    error = z_seen - loc[:cut]
    if df is not None:
        beta = error @ np.linalg.solve(covariance[:cut, :cut], error)
        rest, df = rest * (df + beta - 2) / (df + cut - 2), df + cut
    return df, loc[cut:] + gain @ error, rest
