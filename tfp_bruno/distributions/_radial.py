"""The distribution of the radius: all in which a Gaussian and a Student-t of the same covariance differ.

Every function takes the degrees of freedom `df`; `None` is the Gaussian, their limit at infinity.
"""

import math

import tensorflow as tf
from tensorflow_probability import math as tfp_math
from tensorflow_probability.python.distributions import gamma

from tfp_bruno.distributions._shapes import TensorLike

# From here on, the terms of digamma's asymptotic series beyond those below are less than 1e-16.
_ASYMPTOTIC = 10.0
# B_2k / 2k for k = 1, 2, ...
_COEFFICIENTS = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def log_density(log_det: tf.Tensor, beta: tf.Tensor, n: tf.Tensor, df: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the log-density of n jointly distributed numbers.

    ```none
    Gaussian:   -1/2 (n log(2 pi) + log|K| + beta)
    Student-t:  lgamma((df + n) / 2) - lgamma(df / 2) - n/2 log(pi (df - 2)) - 1/2 log|K|
                - (df + n)/2 log(1 + beta / (df - 2))
    ```

    Args:
        log_det: log|K| of their covariance K.
        beta: `(z - loc)^T K^-1 (z - loc)`.
        n: How many numbers, floating-point.
        df: Degrees of freedom, above 2.
    """
    if df is None:
        return -0.5 * (n * math.log(2.0 * math.pi) + log_det + beta)
    return -_log_normaliser(n, df) - 0.5 * log_det - 0.5 * (df + n) * tf.math.log1p(beta / (df - 2.0))


def predictive_scale(beta: tf.Tensor, n: tf.Tensor, df: tf.Tensor | None = None) -> tf.Tensor:
    """Returns `(df + beta - 2) / (df + n - 2)`, by which n observations scale the Gaussian's conditional covariance."""
    return tf.ones_like(beta) if df is None else (df - 2.0 + beta) / (df - 2.0 + n)


def mixing(shape: TensorLike, df: tf.Tensor | None, seed: TensorLike, dtype: tf.DType) -> tf.Tensor:
    """Draws the factors that make Gaussian deviations Student-t ones of the same covariance.

    They are `sqrt((df - 2) / w)`, where w ~ chi-squared(df).
    """
    if df is None:
        return tf.ones(shape, dtype)
    half_chi_squared = gamma.Gamma(tf.broadcast_to(0.5 * df, shape), tf.ones([], dtype)).sample(seed=seed)
    return tf.sqrt((0.5 * df - 1.0) / half_chi_squared)


def entropy(log_det: tf.Tensor, n: tf.Tensor, df: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the differential entropy, in nats, of n numbers; arguments as for `log_density`."""
    if df is None:
        return 0.5 * (n * (1.0 + math.log(2.0 * math.pi)) + log_det)
    return _log_normaliser(n, df) + 0.5 * log_det + 0.5 * (df + n) * digamma_difference(0.5 * n, 0.5 * df)


def _log_normaliser(n: tf.Tensor, df: tf.Tensor) -> tf.Tensor:
    """Returns the logarithm of the density's normaliser, without that of the covariance."""
    # A difference of two lgamma would be 0 in float32 at large df.
    return tfp_math.log_gamma_difference(0.5 * n, 0.5 * df) + 0.5 * n * tf.math.log(math.pi * (df - 2.0))


def digamma_difference(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns `digamma(x + y) - digamma(y)` for x >= 0 and y > 0, to the precision of the dtype even for large y."""
    is_large = y >= _ASYMPTOTIC
    small = tf.where(is_large, tf.ones_like(y), y)
    large = tf.where(is_large, y, _ASYMPTOTIC * tf.ones_like(y))
    # digamma(z) ~ log(z) - 1 / 2z - sum_k B_2k / (2k z^2k), term by term.
    total = x + large
    difference = tf.math.log1p(x / large) + 0.5 * x / (large * total)
    for k, coefficient in enumerate(_COEFFICIENTS, 1):
        difference += coefficient * (large ** (-2 * k) - total ** (-2 * k))
    return tf.where(is_large, difference, tf.math.digamma(x + small) - tf.math.digamma(small))
