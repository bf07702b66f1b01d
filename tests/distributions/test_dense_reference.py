"""All six processes against dense linear algebra: densities, conditioning, moments, entropies and samples."""

import numpy as np
import pytest
import tensorflow as tf

WANTED = (0, 2)
SEEN: tuple[tuple[int, ...], ...] = ((), (3,), (1, 4, 5))
NAMES = (
    'ExchangeableGaussianProcess',
    'ExchangeableStudentTProcess',
    'PoseGaussianProcess',
    'PoseStudentTProcess',
    'FactorGaussianProcess',
    'FactorStudentTProcess',
)
SINGLE = tuple((name, 1) for name in NAMES)
GROUPED = tuple((name, 2) for name in NAMES if 'Exchangeable' not in name)
STUDENT = (SINGLE[1], *(case for case in GROUPED if 'StudentT' in case[0]))
CASES = [(*case, seen) for case in SINGLE for seen in SEEN] + [(*case, SEEN[-1]) for case in GROUPED]


@pytest.fixture(params=CASES, ids=lambda case: f'{case[0]}-{case[1]}-{len(case[2])}_seen')
def conditioned(request, models, draw):
    """(model, process given vectors at slices, its dense reference)."""
    name, groups, seen = request.param
    model, z_seen = models(name, groups), draw(len(seen), 4, seed=1)
    process = model.make(len(WANTED))
    if seen:
        process = model.posterior(process, z_seen, seen, len(WANTED))
    return model, process, model.law(WANTED, z_seen, seen)


@pytest.fixture(params=GROUPED + SINGLE[:2], ids=lambda case: f'{case[0]}-{case[1]}')
def grouped_model(request, models):
    return models(*request.param)


def test_log_prob_matches_dense_reference(conditioned, draw):
    model, process, law = conditioned
    z, at = draw(3, 2, 4, seed=2), model.at(WANTED)
    joint = [law.log_prob(one) for one in z]
    each = [law.marginal_log_prob(one) for one in z]
    np.testing.assert_allclose(process.log_prob(z, **at), joint, rtol=1e-9)
    np.testing.assert_allclose(process.marginal_log_prob(z, **at), each, rtol=1e-9)
    independent = process.copy(independent_targets=True)
    np.testing.assert_allclose(independent.log_prob(z, **at), np.sum(each, -1), rtol=1e-9)


@pytest.mark.parametrize('num_scored', [pytest.param(1, marks=pytest.mark.slow), 2])
def test_log_prob_and_mean_of_first_and_all_steps(num_scored, conditioned, draw):
    model, process, law = conditioned
    z, at = draw(3, 2, 4, seed=2), model.at(WANTED)
    each = np.array([law.marginal_log_prob(one)[:num_scored] for one in z]).sum(-1)
    joint = [law.log_prob(one) for one in z] if num_scored == 2 else each
    for independent, expected in ((False, joint), (True, each)):
        one = process.copy(independent_targets=independent)
        log_prob, mean = one.log_prob_and_mean(z[:, :num_scored], **at)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-9)
        np.testing.assert_allclose(mean, law.mean, rtol=1e-9, atol=1e-10)


def test_moments_and_entropy_match_dense_reference(conditioned):
    model, process, law = conditioned
    at = model.at(WANTED)
    np.testing.assert_allclose(process.mean(**at), law.mean, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(process.variance(**at), law.variance, rtol=1e-9)
    np.testing.assert_allclose(process.covariance(**at), law.covariance, atol=1e-10)
    np.testing.assert_allclose(process.entropy(**at), law.entropy(), rtol=1e-9)
    independent = process.copy(independent_targets=True)
    across = np.kron(np.eye(2), np.ones((4, 4)))
    np.testing.assert_allclose(independent.covariance(**at), law.covariance * across, atol=1e-10)
    np.testing.assert_allclose(independent.entropy(**at), law.independent_entropy(), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('independent', [False, True])
def test_scalar_variance_is_that_of_every_dimension(name, independent, models, draw):
    model, z, z_seen, at = models(name), draw(2, 4), draw(2, 4, seed=1), models(name).at(WANTED)
    found, expected = (
        model.posterior(
            model.make(2, independent_targets=independent, **{model.variance_name: variance}), z_seen, [4, 5], 2
        )
        for variance in (np.float64(0.5), np.full(4, 0.5))
    )
    np.testing.assert_allclose(found.log_prob(z, **at), expected.log_prob(z, **at), rtol=1e-12)
    for statistic in ('mean', 'variance', 'covariance', 'entropy'):
        value = getattr(found, statistic)(**at)
        np.testing.assert_allclose(value, getattr(expected, statistic)(**at), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize('independent', [False, True])
def test_sample_moments(conditioned, independent):
    model, process, law = conditioned
    num = 40_000
    process = process.copy(independent_targets=independent)
    samples = process.sample(num, seed=(1, 2), **model.at(WANTED)).numpy().reshape(num, -1)
    variance, expected = law.variance.ravel(), law.covariance
    if independent:
        expected = expected * np.kron(np.eye(2), np.ones((4, 4)))
    assert np.all(np.abs(samples.mean(0) - law.mean.ravel()) < 5 * np.sqrt(variance / num))
    # The tails of the smallest df, 4.5, make the largest error.
    scale = np.sqrt(np.outer(variance, variance))
    np.testing.assert_allclose(np.cov(samples.T) / scale, expected / scale, atol=0.08 if model.is_student else 0.03)


@pytest.mark.parametrize('name', [name for name in NAMES if 'StudentT' in name])
def test_independent_targets_have_independent_radii(name, models):
    """With a common radius, absolute values are correlated where the numbers are not."""
    model = models(name)
    df = np.full(np.shape(model.parameters['df']), 9.0)
    # Without correlation between the steps only the radius could tie them to each other.
    alone = {'correlation': np.zeros_like(model.parameters['correlation'])}
    if model.is_factor:
        alone['loadings'] = np.zeros_like(model.parameters['loadings'])
    model = model.with_parameters(df=df, **alone)
    for independent, low, high in ((True, -0.03, 0.03), (False, 0.08, 0.25)):
        process = model.make(2, independent_targets=independent)
        samples = process.sample(40_000, seed=(3, 4), **model.at(WANTED)).numpy()
        sizes = np.abs(samples - model.parameters['loc'])
        for d in range(4):
            assert low < np.corrcoef(sizes[:, 0, d], sizes[:, 1, d])[0, 1] < high


def test_posterior_twice_equals_once(grouped_model, draw):
    model, z, at = grouped_model, draw(3, 4), grouped_model.at(WANTED)
    twice = model.posterior(model.make(1), z[:1], [1], 1)
    twice = model.posterior(twice, z[1:], [4, 5], 2)
    law = model.law(WANTED, z, [1, 4, 5])
    np.testing.assert_allclose(twice.mean(**at), law.mean, atol=1e-10)
    np.testing.assert_allclose(twice.covariance(**at), law.covariance, atol=1e-10)
    np.testing.assert_allclose(twice.log_prob(z[:2], **at), law.log_prob(z[:2]), rtol=1e-9)


def test_posterior_without_observations_is_the_prior(grouped_model, draw):
    model, z, at = grouped_model, draw(2, 4), grouped_model.at(WANTED)
    process = model.posterior(model.make(1), np.zeros((0, 4)), [], 2)
    law = model.law(WANTED)
    np.testing.assert_allclose(process.mean(**at), law.mean, rtol=1e-12)
    np.testing.assert_allclose(process.covariance(**at), law.covariance, atol=1e-12)
    np.testing.assert_allclose(process.log_prob(z, **at), law.log_prob(z), rtol=1e-10)
    np.testing.assert_allclose(process.sample(seed=(1, 2), **at), model.make(2).sample(seed=(1, 2), **at), rtol=1e-6)
    none = model.make(0).log_prob(np.zeros((0, 4)), **model.at([]))
    np.testing.assert_allclose(none, 0.0, atol=1e-12)


def test_posterior_of_a_batch_at_different_slices(grouped_model, draw):
    model = grouped_model
    z_seen, z = draw(3, 2, 4), draw(3, 2, 4, seed=1)
    seen, wanted = np.array([[0, 1], [5, 2], [3, 1]]), np.array([[2, 3], [0, 1], [5, 0]])
    at = model.at(wanted)
    posterior = model.posterior(model.make(1), z_seen, seen, 2)
    assert posterior.batch_shape == [3]
    assert posterior.event_shape == [2, 4]
    laws = [model.law(*one) for one in zip(wanted, z_seen, seen, strict=True)]
    priors = [model.law(slices) for slices in wanted]
    expected = [law.log_prob(one) for law, one in zip(priors, z, strict=True)]
    np.testing.assert_allclose(model.make(2).log_prob(z, **at), expected, rtol=1e-9)
    each = [law.marginal_log_prob(one) for law, one in zip(laws, z, strict=True)]
    np.testing.assert_allclose(posterior.marginal_log_prob(z, **at), each, rtol=1e-9)
    np.testing.assert_allclose(posterior.mode(**at), [law.mean for law in laws], atol=1e-10)
    np.testing.assert_allclose(posterior.stddev(**at), np.sqrt([law.variance for law in laws]), rtol=1e-9)
    np.testing.assert_allclose(posterior.covariance(**at), [law.covariance for law in laws], atol=1e-10)
    np.testing.assert_allclose(posterior.entropy(**at), [law.entropy() for law in laws], rtol=1e-9)
    samples = posterior.at(at['conditional_input']).sample(7, seed=(1, 2)) if at else posterior.sample(7, seed=(1, 2))
    assert samples.shape == (7, 3, 2, 4)
    one_by_one = [[law.log_prob(one) for law, one in zip(laws, row, strict=True)] for row in samples.numpy()]
    np.testing.assert_allclose(posterior.log_prob(samples, **at), one_by_one, rtol=1e-8)


def with_batch(value):
    """Two values of a parameter, in range."""
    value = np.atleast_1d(value)
    return np.stack([value, value * 0.9 + 0.05])


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'groups'), STUDENT)
def test_batch_of_each_parameter(name, groups, models, draw):
    """Each parameter in turn, at poses without a batch."""
    model, z = models(name, groups), draw(2, 4)
    at = model.at(WANTED)
    z_seen, seen = draw(2, 4, seed=1), [4, 5]
    for name in set(model.parameters) - {'loadings'}:
        values = with_batch(model.parameters[name])
        if model.is_factor and name == 'df':
            values = values[:, 0]
        process = model.make(2, **{name: tf.constant(values)})
        assert process.batch_shape == [2], name
        np.testing.assert_array_equal(process.batch_shape_tensor(), [2])
        each = [model.with_parameters(**{name: value}) for value in values]
        priors, laws = ([one.law(WANTED, *given) for one in each] for given in ((), (z_seen, seen)))
        np.testing.assert_allclose(process.log_prob(z, **at), [law.log_prob(z) for law in priors], rtol=1e-9)
        expected = [law.marginal_log_prob(z) for law in priors]
        np.testing.assert_allclose(process.marginal_log_prob(z, **at), expected, rtol=1e-9, err_msg=name)
        assert process.mean(**at).shape == (2, 2, 4)
        assert process.variance(**at).shape == (2, 2, 4)
        assert process.sample(3, seed=(1, 2), **at).shape == (3, 2, 2, 4)
        np.testing.assert_allclose(process[1].log_prob(z, **at), priors[1].log_prob(z), rtol=1e-9)
        posterior = model.posterior(process, z_seen, seen, 2)
        assert posterior.batch_shape == [2], name
        np.testing.assert_allclose(posterior.log_prob(z, **at), [law.log_prob(z) for law in laws], rtol=1e-9)
        np.testing.assert_allclose(posterior.mean(**at), [law.mean for law in laws], atol=1e-10)
        np.testing.assert_allclose(posterior.covariance(**at), [law.covariance for law in laws], atol=1e-10)
        np.testing.assert_allclose(posterior.entropy(**at), [law.entropy() for law in laws], rtol=1e-9, err_msg=name)
