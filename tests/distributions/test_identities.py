"""Processes that equal each other for certain parameters."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno import distributions

FAMILIES = ('Exchangeable', 'Pose', 'Factor')


def statistics(process, z, at):
    """Log-density and moments of a process, by name."""
    return {
        'log_prob': process.log_prob(z, **at),
        'mean': process.mean(**at),
        'variance': process.variance(**at),
        'covariance': process.covariance(**at),
        'entropy': process.entropy(**at),
    }


def assert_same(expected, found, **tolerance):
    for name, value in expected.items():
        np.testing.assert_allclose(value, found[name], err_msg=name, **tolerance)


@pytest.mark.parametrize('kind', ['Gaussian', 'StudentT'])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(np.float64, 1e-11), (np.float32, 2e-5)])
def test_pose_process_with_constant_share_one_is_exchangeable(kind, dtype, tolerance, models, draw):
    pose, exchangeable = models(f'Pose{kind}Process'), models(f'Exchangeable{kind}Process')
    z, z_seen, at = draw(2, 4).astype(dtype), draw(3, 4, seed=1).astype(dtype), pose.at([0, 2], dtype)
    of_poses, plain = pose.make(2, dtype, constant_share=dtype(1.0)), exchangeable.make(2, dtype)
    for one, other in (
        (of_poses, plain),
        (pose.posterior(of_poses, z_seen, [1, 4, 5], 2), plain.posterior(z_seen, num_steps=2)),
    ):
        assert_same(statistics(one, z, at), statistics(other, z, {}), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(('kind', 'dimension'), [('Gaussian', 4), ('StudentT', 1)])
@pytest.mark.parametrize('groups', [1, 2])
def test_factor_process_without_loadings_is_pose_process(kind, dimension, groups, models, draw):
    """For a Student-t with one dimension, as a factor process has one radius for all dimensions."""
    if groups > dimension:
        groups = 1
    pose, factor = models(f'Pose{kind}Process', groups), models(f'Factor{kind}Process', groups)
    loc, variance = factor.parameters['loc'][:dimension], factor.variance[:dimension]
    correlation = np.array([0.5, 0.9])[:groups]
    factor = factor.with_parameters(
        correlation=correlation, loadings=np.zeros((6, dimension, 2)), loc=loc, residual_variance=variance
    )
    repeated = np.repeat(correlation, dimension // groups)
    df = {'df': factor.parameters['df'].reshape(1)} if kind == 'StudentT' else {}
    pose = pose.with_parameters(correlation=repeated, loc=loc, marginal_variance=variance, **df)
    z, z_seen, at = draw(2, dimension), draw(3, dimension, seed=1), pose.at([0, 2])
    for make in (
        lambda model: model.make(2),
        lambda model: model.posterior(model.make(1), z_seen, [1, 4, 5], 2),
    ):
        assert_same(statistics(make(pose), z, at), statistics(make(factor), z, at), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('family', FAMILIES)
def test_student_t_with_many_degrees_of_freedom_is_gaussian(family, models, draw):
    student, gaussian = models(f'{family}StudentTProcess'), models(f'{family}GaussianProcess')
    student = student.with_parameters(df=np.full(np.shape(student.parameters['df']), 1e8), **gaussian.parameters)
    z, z_seen, at = draw(2, 4), draw(3, 4, seed=1), student.at([0, 2])
    for make in (lambda model: model.make(2), lambda model: model.posterior(model.make(1), z_seen, [1, 4, 5], 2)):
        assert_same(statistics(make(student), z, at), statistics(make(gaussian), z, at), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_callable_loadings_match_table(models, draw):
    for name in ('FactorGaussianProcess', 'FactorStudentTProcess'):
        model, z, z_seen = models(name), draw(2, 4), draw(3, 4, seed=1)
        table = tf.constant(model.parameters['loadings'])
        of_callable = model.make(2, loadings=lambda poses, table=table: tf.einsum('...p,pdq->...dq', poses, table))
        at = model.at([0, 2])
        posteriors = [model.posterior(one, z_seen, [1, 4, 5], 2) for one in (model.make(2), of_callable)]
        assert_same(*(statistics(one, z, at) for one in posteriors), rtol=1e-11, atol=1e-12)
        samples = [one.sample(3, seed=(1, 2), **at) for one in posteriors]
        np.testing.assert_allclose(*samples, rtol=1e-9)


def test_callable_loadings_between_poses(models, draw):
    """Halfway between two poses, loadings and position are halfway."""
    model, z = models('FactorGaussianProcess'), draw(1, 4)
    table = tf.constant(model.parameters['loadings'])
    process = model.make(1, loadings=lambda poses: tf.einsum('...p,pdq->...dq', poses, table))
    poses = model.poses([1, 2]).mean(0, keepdims=True)
    loadings = model.parameters['loadings'][1:3].mean(0)
    covariance = loadings @ loadings.T + np.diag(model.variance)
    np.testing.assert_allclose(process.covariance(conditional_input=poses), covariance, rtol=1e-10)
    expected = scipy.stats.multivariate_normal(model.parameters['loc'], covariance).logpdf(z[0])
    np.testing.assert_allclose(process.log_prob(z, conditional_input=poses), expected, rtol=1e-10)


@st.composite
def pairs(draw):
    """(process, vectors, poses, permutation of them), of all six classes."""
    name = draw(st.sampled_from([name for name in distributions.__all__ if name.endswith('Process')]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    order = draw(st.integers(2, 6).flatmap(lambda n: st.permutations(range(n))))
    groups, size = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    dimension, n = groups * size, len(order)
    poses, correlation = rng.uniform(0, 5, (n, 2)), draw(st.floats(0.0, 0.99))
    variance = 'residual_variance' if 'Factor' in name else 'marginal_variance'
    parameters = {'loc': rng.normal(size=dimension), variance: np.exp(rng.normal(size=dimension))}
    parameters['correlation'] = np.full(groups if 'Factor' in name else dimension, correlation)
    if 'StudentT' in name:
        parameters['df'] = np.full([] if 'Factor' in name else dimension, draw(st.floats(2.1, 1e3)))
    if 'Exchangeable' not in name:
        length = tf.constant(rng.uniform(0.5, 5.0, groups))
        parameters['kernel'] = tfp.math.psd_kernels.MaternThreeHalves(length_scale=length)
        parameters['constant_share'] = draw(st.floats(0.0, 1.0))
    if 'Factor' in name:
        weights = rng.normal(size=(2, dimension, draw(st.integers(1, 3))))
        parameters['loadings'] = lambda poses: tf.einsum('...p,pdq->...dq', poses, weights)
    process = getattr(distributions, name)(**parameters, num_steps=n)
    return process, rng.normal(size=(n, dimension)), poses, list(order)


@pytest.mark.slow
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(pairs())
def test_log_prob_does_not_depend_on_order_of_pairs(pair):
    process, z, poses, order = pair
    where = {'conditional_input': poses}
    log_prob = process.log_prob(z, **where)
    assert np.isfinite(log_prob)
    np.testing.assert_allclose(
        process.log_prob(z[order], conditional_input=poses[order]), log_prob, rtol=1e-8, atol=1e-8
    )
    one = process.posterior(z, poses, num_steps=len(z))
    other = process.posterior(z[order], poses[order], num_steps=len(z))
    np.testing.assert_allclose(other.log_prob(z + 1.0, **where), one.log_prob(z + 1.0, **where), rtol=1e-8, atol=1e-8)
