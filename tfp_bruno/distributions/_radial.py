"""The part in which Gaussian and Student-t differ: the distribution of the radius, given the covariance.

Every function takes `df`; `None` is the Gaussian, the limit of infinitely many degrees of freedom.
"""

import math

import tensorflow as tf
from tensorflow_probability import math as tfp_math
from tensorflow_probability.python.distributions import gamma

__all__ = ['digamma_difference', 'entropy', 'log_density', 'mixing', 'predictive_scale']

# From here on, what the terms below leave of the asymptotic series of digamma is less than 1e-16.
_ASYMPTOTIC = 10.0
# B_2k / 2k for k = 1, 2, ...
_COEFFICIENTS = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def log_density(log_det, beta, n, df=None):
    """Returns the log-density of n jointly distributed numbers.

    ```none
    Gaussian:   -1/2 (n log(2 pi) + log|K| + beta)
    Student-t:  lgamma((df + n) / 2) - lgamma(df / 2) - n/2 log(pi (df - 2)) - 1/2 log|K|
                - (df + n)/2 log(1 + beta / (df - 2))
    ```

    Args:
        log_det: `Tensor`, log|K| of their covariance K.
        beta: `Tensor`, `(z - loc)^T K^-1 (z - loc)`.
        n: Floating-point `Tensor`, how many numbers.
        df: `Tensor` above 2, or `None`.
    """
    if df is None:
        return -0.5 * (n * math.log(2.0 * math.pi) + log_det + beta)
    return -_log_normaliser(n, df) - 0.5 * log_det - 0.5 * (df + n) * tf.math.log1p(beta / (df - 2.0))


def predictive_scale(beta, n, df=None):
    """Returns the factor of the Gaussian's covariance given n numbers, `(df + beta - 2) / (df + n - 2)`."""
    return tf.ones_like(beta) if df is None else (df - 2.0 + beta) / (df - 2.0 + n)


def mixing(shape, df, seed, dtype):
    """Draws the factors that turn Gaussian deviations of covariance K into deviations of the same covariance.

    With w ~ chi-squared(df), `sqrt((df - 2) / w)` times a Gaussian is Student-t.
    """
    if df is None:
        return tf.ones(shape, dtype)
    half_chi_squared = gamma.Gamma(tf.broadcast_to(0.5 * df, shape), tf.ones([], dtype)).sample(seed=seed)
    return tf.sqrt((0.5 * df - 1.0) / half_chi_squared)


def entropy(log_det, n, df=None):
    """Returns the differential entropy, nats, of n numbers of covariance K; arguments as for `log_density`."""
    if df is None:
        return 0.5 * (n * (1.0 + math.log(2.0 * math.pi)) + log_det)
    return _log_normaliser(n, df) + 0.5 * log_det + 0.5 * (df + n) * digamma_difference(0.5 * n, 0.5 * df)


def _log_normaliser(n, df):
    """Returns the logarithm of the density's normaliser, without that of the covariance."""
    # A difference of two lgamma would be 0 in float32 at large df.
    return tfp_math.log_gamma_difference(0.5 * n, 0.5 * df) + 0.5 * n * tf.math.log(math.pi * (df - 2.0))


def digamma_difference(x, y):
    """Returns `digamma(x + y) - digamma(y)` for x >= 0 and y > 0, to the precision of the dtype for large y, too."""
    is_large = y >= _ASYMPTOTIC
    small = tf.where(is_large, tf.ones_like(y), y)
    large = tf.where(is_large, y, _ASYMPTOTIC * tf.ones_like(y))
    # digamma(z) ~ log(z) - 1 / 2z - sum_k B_2k / (2k z^2k), term by term.
    total = x + large
    difference = tf.math.log1p(x / large) + 0.5 * x / (large * total)
    for k, coefficient in enumerate(_COEFFICIENTS, 1):
        difference += coefficient * (large ** (-2 * k) - total ** (-2 * k))
    return tf.where(is_large, difference, tf.math.digamma(x + small) - tf.math.digamma(small))
