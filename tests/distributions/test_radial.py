"""The distribution of the radius against SciPy, in float32 and float64, over all degrees of freedom."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from tfp_bruno import distributions
from tfp_bruno.distributions import _radial as radial

DEGREES = (2.01, 3.0, 19.9, 20.1, 1e3, 1e5, 1e7, 1e9)


def digamma_difference(x, y):
    """`digamma(x + y) - digamma(y)` in long arithmetic: a sum where x is a whole number."""
    return sum(1.0 / (np.longdouble(y) + k) for k in range(int(x)))


@pytest.mark.parametrize(('dtype', 'tolerance'), [(np.float32, 1e-5), (np.float64, 2e-14)])
@pytest.mark.parametrize('x', [0, 1, 5, 2000])
def test_digamma_difference_matches_sum(x, dtype, tolerance):
    y = np.array([1.005, 1.5, 9.95, 10.05, 5e2, 5e4, 5e6, 5e8], dtype)
    expected = np.array([digamma_difference(x, each) for each in y], np.float64)
    found = radial.digamma_difference(dtype(x), tf.constant(y))
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(n=st.integers(1, 40), df=st.sampled_from(DEGREES), log_det=st.floats(-20, 20))
def test_entropy_matches_scipy_in_float32(n, df, log_det):
    df, log_det = np.float32(df), np.float32(log_det)
    exact = np.float64(df)
    half = 0.5 * (exact + n)
    expected = (
        scipy.special.gammaln(0.5 * exact)
        - scipy.special.gammaln(half)
        + 0.5 * n * np.log(np.pi * (exact - 2))
        + 0.5 * np.float64(log_det)
        + half * (scipy.special.digamma(half) - scipy.special.digamma(0.5 * exact))
    )
    if df > 1e6:
        # There SciPy's differences cancel, too, and the Gaussian is nearer than the tolerance.
        expected = 0.5 * (n * (1 + np.log(2 * np.pi)) + np.float64(log_det))
    np.testing.assert_allclose(radial.entropy(log_det, np.float32(n), df), expected, rtol=5e-6, atol=5e-6 * n)


@pytest.mark.parametrize('family', ['Exchangeable', 'Pose', 'Factor'])
def test_entropy_with_many_degrees_of_freedom_is_gaussian(family, models):
    student, gaussian = models(f'{family}StudentTProcess'), models(f'{family}GaussianProcess')
    student = student.with_parameters(df=np.full(np.shape(student.parameters['df']), 1e7), **gaussian.parameters)
    found = student.make(3, np.float32).entropy(**student.at([0, 2, 5], np.float32))
    np.testing.assert_allclose(found, gaussian.law([0, 2, 5]).entropy(), rtol=1e-5)


def test_entropy_of_one_number_with_many_degrees_of_freedom():
    process = distributions.ExchangeableStudentTProcess(
        df=tf.constant([1e7]), loc=[0.0], marginal_variance=[1.0], correlation=[0.0], num_steps=1
    )
    np.testing.assert_allclose(process.entropy(), scipy.stats.norm().entropy(), rtol=1e-6)


def test_entropy_gradient_by_degrees_of_freedom():
    df = tf.constant([2.5, 7.0, 40.0], tf.float64)
    theoretical, numerical = tf.test.compute_gradient(
        lambda df: radial.entropy(tf.zeros([], tf.float64), tf.constant(5.0, tf.float64), df), [df], delta=1e-5
    )
    np.testing.assert_allclose(theoretical, numerical, rtol=1e-6, atol=1e-9)
