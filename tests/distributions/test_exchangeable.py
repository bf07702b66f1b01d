"""The exchangeable Student-t process against SciPy's multivariate t, finite differences, and its identities."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfp_bruno.distributions import ExchangeableStudentTProcess

PARAMETERS = {
    'df': np.array([3.5, 6.0, 40.0]),
    'loc': np.array([-1.0, 0.0, 2.0]),
    'marginal_variance': np.array([0.5, 1.0, 3.0]),
    'correlation': np.array([0.0, 0.4, 0.9]),
}
DIMENSION = 3


def make(num_steps, dtype=np.float64, **changes):
    parameters = {name: np.asarray(value, dtype) for name, value in PARAMETERS.items()}
    return ExchangeableStudentTProcess(**{**parameters, 'num_steps': num_steps, **changes})


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 1.5 + 0.5


def scipy_log_prob(z, df, loc, marginal_variance, correlation):
    """Log-density of steps `[n, D]`, one multivariate t per dimension."""
    n = len(z)
    total = 0.0
    for d in range(z.shape[-1]):
        covariance = marginal_variance[d] * ((1 - correlation[d]) * np.eye(n) + correlation[d])
        scale = (df[d] - 2) / df[d] * covariance
        total += scipy.stats.multivariate_t(np.full(n, loc[d]), scale, df=df[d]).logpdf(z[:, d])
    return total


@pytest.mark.parametrize('n', [1, 2, 9, 30])
def test_log_prob_matches_scipy(n):
    z = draw(5, n, DIMENSION)
    expected = [scipy_log_prob(one, **PARAMETERS) for one in z]
    np.testing.assert_allclose(make(n).log_prob(z), expected, rtol=1e-10)


@pytest.mark.parametrize(('seen', 'wanted'), [(1, 1), (4, 3), (10, 1)])
def test_posterior_is_joint_over_marginal(seen, wanted):
    z = draw(6, seen + wanted, DIMENSION)
    posterior = make(seen).posterior(z[:, :seen], num_steps=wanted)
    assert posterior.event_shape == [wanted, DIMENSION]
    assert posterior.batch_shape == [6]
    expected = make(seen + wanted).log_prob(z) - make(seen).log_prob(z[:, :seen])
    np.testing.assert_allclose(posterior.log_prob(z[:, seen:]), expected, rtol=1e-9)


def test_posterior_one_by_one_equals_all_at_once():
    z = draw(5, DIMENSION)
    once = make(1).posterior(z, num_steps=2)
    process = make(1)
    for step in z:
        process = process.posterior(step[np.newaxis], num_steps=1)
    process = process.copy(num_steps=2)
    for name in ('df', 'loc', 'correlation'):
        np.testing.assert_allclose(getattr(process, name), getattr(once, name), rtol=1e-10)
    np.testing.assert_allclose(process.variance(), once.variance(), rtol=1e-10)


def test_posterior_without_observations_is_the_prior():
    posterior = make(4).posterior(np.zeros((0, DIMENSION)), num_steps=2)
    for name in ('df', 'loc', 'correlation'):
        np.testing.assert_allclose(getattr(posterior, name), PARAMETERS[name], rtol=1e-12)
    np.testing.assert_allclose(posterior.variance()[0], PARAMETERS['marginal_variance'], rtol=1e-12)
    z = draw(2, DIMENSION)
    np.testing.assert_allclose(posterior.log_prob(z), make(2).log_prob(z), rtol=1e-12)
    np.testing.assert_allclose(make(0).log_prob(np.zeros((0, DIMENSION))), 0.0, atol=1e-12)


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    order=st.integers(2, 8).flatmap(lambda n: st.permutations(range(n))),
    dimension=st.integers(1, 4),
    df=st.floats(2.1, 100.0),
    variance=st.floats(0.01, 10.0),
    correlation=st.floats(0.0, 0.99),
    seed=st.integers(0, 1000),
)
def test_log_prob_does_not_depend_on_order(order, dimension, df, variance, correlation, seed):
    parameters = [np.full(dimension, value) for value in (df, 0.3, variance, correlation)]
    z = draw(len(order), dimension, seed=seed)
    process = ExchangeableStudentTProcess(*parameters, num_steps=len(order))
    log_prob = process.log_prob(z)
    np.testing.assert_allclose(process.log_prob(z[list(order)]), log_prob, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_prob, scipy_log_prob(z, *parameters), rtol=1e-7, atol=1e-7)
    one, other = process.posterior(z, num_steps=1), process.posterior(z[list(order)], num_steps=1)
    np.testing.assert_allclose(other.mean(), one.mean(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.variance(), one.variance(), rtol=1e-9)


def test_sample_moments():
    process = make(4, df=np.array([12.0, 6.0, 40.0]))
    samples = process.sample(100_000, seed=(1, 2)).numpy()
    np.testing.assert_allclose(samples.mean((0, 1)), PARAMETERS['loc'], atol=0.02)
    for d in range(DIMENSION):
        variance, correlation = PARAMETERS['marginal_variance'][d], PARAMETERS['correlation'][d]
        expected = variance * ((1 - correlation) * np.eye(4) + correlation)
        np.testing.assert_allclose(np.cov(samples[:, :, d].T), expected, atol=0.05 * variance)
    # The dimensions are independent of each other.
    across = np.corrcoef(samples[:, 0].T)
    np.testing.assert_allclose(across, np.eye(DIMENSION), atol=0.02)


def test_sample_follows_scipy_student_t():
    samples = make(3).sample(4000, seed=(3, 4)).numpy()
    for d in range(DIMENSION):
        df = PARAMETERS['df'][d]
        scale = np.sqrt(PARAMETERS['marginal_variance'][d] * (df - 2) / df)
        marginal = scipy.stats.t(df, PARAMETERS['loc'][d], scale)
        assert scipy.stats.kstest(samples[:, 1, d], marginal.cdf).pvalue > 1e-3


def test_sample_repeats_with_its_seed():
    process = make(2)
    first, same, other = (process.sample(3, seed=(1, seed)) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).min() > 0


def test_moments_match_formulas():
    process = make(2)
    np.testing.assert_array_equal(process.mean(), np.tile(PARAMETERS['loc'], (2, 1)))
    np.testing.assert_array_equal(process.mode(), process.mean())
    np.testing.assert_array_equal(process.variance(), np.tile(PARAMETERS['marginal_variance'], (2, 1)))
    np.testing.assert_allclose(process.stddev() ** 2, process.variance(), rtol=1e-12)
    # Steps are outermost in the flattened event.
    shared = np.diag(PARAMETERS['marginal_variance'] * PARAMETERS['correlation'])
    whole = np.diag(PARAMETERS['marginal_variance'])
    np.testing.assert_allclose(process.covariance(), np.block([[whole, shared], [shared, whole]]), rtol=1e-12)


def test_batch_shape_broadcasts():
    loc, variance = draw(2, 1, DIMENSION), 1.0 + draw(4, DIMENSION, seed=1) ** 2
    process = make(5, df=np.float64(7.0), loc=loc, marginal_variance=variance)
    assert process.batch_shape == [2, 4]
    np.testing.assert_array_equal(process.batch_shape_tensor(), [2, 4])
    np.testing.assert_array_equal(process.event_shape_tensor(), [5, DIMENSION])
    assert process.sample(3, seed=(1, 2)).shape == (3, 2, 4, 5, DIMENSION)
    assert process.mean().shape == process.variance().shape == process.mode().shape == (2, 4, 5, DIMENSION)
    assert process.covariance().shape == (2, 4, 15, 15)
    z = draw(4, 5, DIMENSION, seed=2)
    log_prob = process.log_prob(z).numpy()
    posterior = process.posterior(z, num_steps=2)
    assert posterior.batch_shape == [2, 4]
    for i in range(2):
        for j in range(4):
            one = {**PARAMETERS, 'df': np.full(DIMENSION, 7.0), 'loc': loc[i, 0], 'marginal_variance': variance[j]}
            np.testing.assert_allclose(log_prob[i, j], scipy_log_prob(z[j], **one), rtol=1e-10)
            single = make(5, **one).posterior(z[j], num_steps=2)
            np.testing.assert_allclose(posterior.loc[i, j], single.loc, rtol=1e-10)


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_batch_of_each_parameter(name):
    values = np.stack([PARAMETERS[name], PARAMETERS[name] * 0.9 + 0.05])
    process = make(2, **{name: values})
    assert process.batch_shape == [2]
    np.testing.assert_array_equal(process.batch_shape_tensor(), [2])
    assert process.sample(seed=(1, 2)).shape == (2, 2, DIMENSION)
    z = draw(2, DIMENSION)
    for index in range(2):
        expected = scipy_log_prob(z, **{**PARAMETERS, name: values[index]})
        np.testing.assert_allclose(process.log_prob(z)[index], expected, rtol=1e-10)
        assert process[index].batch_shape == []
        np.testing.assert_allclose(process[index].log_prob(z), expected, rtol=1e-10)


def test_slice_matches_batch_member():
    process = make(2, loc=draw(2, 1, DIMENSION), correlation=np.full((4, DIMENSION), 0.3))
    z = draw(2, DIMENSION)
    log_prob = process.log_prob(z).numpy()
    for index in (1, (0, 2), (slice(None), slice(1, 3)), (Ellipsis, 0), (tf.newaxis, 1), (slice(None, None, -1),)):
        sliced = process[index]
        expected = log_prob[index]
        assert sliced.batch_shape == expected.shape
        np.testing.assert_allclose(sliced.log_prob(z), expected, rtol=1e-12)


def test_gradients_match_finite_differences():
    z = draw(4, DIMENSION)
    observed = draw(3, DIMENSION, seed=1)

    def loss(df, loc, marginal_variance, correlation):
        process = ExchangeableStudentTProcess(df, loc, marginal_variance, correlation, num_steps=4)
        return process.log_prob(z) + 0.5 * process.posterior(observed, num_steps=4).log_prob(z)

    # A correlation of 0 is at the edge of its range.
    parameters = [
        tf.constant(np.maximum(value, 0.1) if name == 'correlation' else value) for name, value in PARAMETERS.items()
    ]
    theoretical, numerical = tf.test.compute_gradient(loss, parameters, delta=1e-5)
    for name, exact, difference in zip(PARAMETERS, theoretical, numerical, strict=True):
        assert np.all(exact != 0), name
        np.testing.assert_allclose(exact, difference, rtol=1e-5, atol=1e-6, err_msg=name)


def test_sample_is_reparameterised():
    parameters = {name: tf.constant(value) for name, value in PARAMETERS.items()}
    parameters['correlation'] = tf.constant([0.1, 0.4, 0.9], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        samples = ExchangeableStudentTProcess(**parameters, num_steps=4).sample(50, seed=(1, 2))
        loss = tf.reduce_sum(samples**2)
    for name, gradient in tape.gradient(loss, parameters).items():
        assert gradient is not None, name
        assert np.all(np.isfinite(gradient)), name
        assert np.all(gradient != 0), name


def test_float32_matches_float64():
    z = draw(9, DIMENSION) + 100.0
    changes = {'loc': np.full(DIMENSION, 100.0), 'df': np.array([2.01, 1e3, 1e7])}
    exact = make(9, **changes)
    rounded = make(9, np.float32, **{name: value.astype(np.float32) for name, value in changes.items()})
    assert rounded.dtype == tf.float32
    assert rounded.sample(seed=(1, 2)).dtype == tf.float32
    np.testing.assert_allclose(rounded.log_prob(z.astype(np.float32)), exact.log_prob(z), rtol=1e-3)
    one, other = rounded.posterior(z.astype(np.float32), num_steps=1), exact.posterior(z, num_steps=1)
    np.testing.assert_allclose(one.mean(), other.mean(), rtol=1e-5)
    np.testing.assert_allclose(one.variance(), other.variance(), rtol=1e-3)


@pytest.mark.slow
def test_num_steps_known_only_at_run_time():
    z = draw(5, DIMENSION)

    @tf.function(input_signature=[tf.TensorSpec([None, DIMENSION], tf.float64), tf.TensorSpec([], tf.int32)])
    def run(z, num_steps):
        process = make(num_steps)
        assert process.event_shape.as_list() == [None, DIMENSION]
        return process.log_prob(z), process.sample(seed=(1, 2)), process.posterior(z, num_steps=num_steps).mean()

    log_prob, sample, mean = run(z, 5)
    np.testing.assert_allclose(log_prob, scipy_log_prob(z, **PARAMETERS), rtol=1e-10)
    np.testing.assert_allclose(sample, make(5).sample(seed=(1, 2)), rtol=1e-10)
    assert mean.shape == (5, DIMENSION)
