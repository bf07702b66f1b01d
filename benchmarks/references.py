"""What the processes are measured against: the recurrence of BRUNO, TFP's own process, a formula in float64."""

import math

import numpy as np
import tensorflow as tf
from scipy.special import gammaln
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.math import psd_kernels

__all__ = ['exact_log_prob', 'recurrent_log_prob', 'tfp_log_prob']


def recurrent_log_prob(observations, df, loc, variance, correlation):
    """Returns the density of one sequence as BRUNO computes it: one observation at a time, each given those before.

    Korshunova et al., BRUNO: a deep recurrent model for exchangeable data, NeurIPS 2018, equations 8 to 10.

    Args:
        observations: `Tensor` of shape `[n, D]`.
        df: `Tensor` of shape `[D]` above 2.
        loc: `Tensor` of shape `[D]`.
        variance: Positive `Tensor` of shape `[D]`.
        correlation: `Tensor` of shape `[D]` in `[0, 1)`.

    Returns:
        Scalar `Tensor`.
    """
    num_steps = tf.shape(observations)[0]
    shared = variance * correlation

    def is_left(step, *_):
        return step < num_steps

    def take(step, total, mean, spread, beta):
        z = observations[step]
        n = tf.cast(step, z.dtype)
        scale = (df - 2.0 + beta) / (df - 2.0 + n) * spread
        total += tf.reduce_sum(_student_t_log_prob(z, df + n, mean, scale))
        gain = shared / (variance + n * shared)
        error = z - mean
        beta += error**2 / spread
        mean += gain * error
        spread = (1.0 - gain) * spread + gain * (variance - shared)
        return step + 1, total, mean, spread, beta

    start = (tf.constant(0), tf.zeros([], loc.dtype), loc, variance, tf.zeros_like(loc))
    return tf.while_loop(is_left, take, start)[1]


def _student_t_log_prob(z, df, mean, variance):
    normaliser = tf.math.lgamma(0.5 * (df + 1.0)) - tf.math.lgamma(0.5 * df)
    normaliser -= 0.5 * tf.math.log(math.pi * (df - 2.0) * variance)
    return normaliser - 0.5 * (df + 1.0) * tf.math.log1p((z - mean) ** 2 / ((df - 2.0) * variance))


def tfp_log_prob(observations, df, loc, variance, correlation):
    """Returns the same density by `tfd.StudentTProcess`, a constant kernel and noise for each dimension.

    The arguments are those of `recurrent_log_prob`.
    """
    num_steps = observations.shape[0]
    process = tfd.StudentTProcess(
        df=df,
        kernel=psd_kernels.Constant(variance * correlation),
        index_points=tf.zeros([num_steps, 1], loc.dtype),
        mean_fn=lambda index_points: loc[:, tf.newaxis] + tf.zeros(tf.shape(index_points)[-2], loc.dtype),
        observation_noise_variance=variance * (1.0 - correlation),
        jitter=0.0,
    )
    return tf.reduce_sum(process.log_prob(tf.transpose(observations)))


def exact_log_prob(observations, df, loc, variance, correlation):
    """Returns the same density in float64 NumPy; the arguments are arrays of the same shapes."""
    z, df, loc, variance, correlation = (
        np.asarray(part, np.float64) for part in (observations, df, loc, variance, correlation)
    )
    n = len(z)
    a, b = variance * (1.0 - correlation), variance * correlation
    centre = z.mean(0)
    beta = ((z - centre) ** 2).sum(0) / a + n * (centre - loc) ** 2 / (a + n * b)
    log_det = (n - 1) * np.log(a) + np.log(a + n * b)
    normaliser = gammaln(0.5 * (df + n)) - gammaln(0.5 * df) - 0.5 * n * np.log(np.pi * (df - 2.0))
    return float((normaliser - 0.5 * log_det - 0.5 * (df + n) * np.log1p(beta / (df - 2.0))).sum())
