"""Many sequences at the same poses: poses without a batch give the same results as repeated ones."""

import numpy as np
import pytest
import tensorflow as tf

pytestmark = pytest.mark.slow

SEEN, WANTED, BATCH = [4, 0, 1], [2, 5], 3


@pytest.fixture(params=['FactorGaussianProcess', 'FactorStudentTProcess'])
def factor_model(request, models):
    """The `Model` of each factor process, with two groups of dimensions."""
    return models(request.param, groups=2)


def posteriors(model, process, z):
    """Returns the posteriors given vectors at poses `[n, P]`, and at poses `[B, n, P]`."""
    return [process.posterior(z, poses) for poses in (model.poses(SEEN), model.poses([SEEN] * BATCH))]


def test_log_prob_matches_dense_reference(factor_model, draw):
    z, value = draw(BATCH, len(SEEN), 4), draw(BATCH, len(WANTED), 4, seed=1)
    process = factor_model.make(len(WANTED))
    common, _ = posteriors(factor_model, process, z)
    assert common.observed_poses.shape == [3, 6]
    assert common.batch_shape == [BATCH]
    laws = [factor_model.law(WANTED, each, SEEN) for each in z]
    at = factor_model.at(WANTED)
    expected = [law.log_prob(each) for law, each in zip(laws, value, strict=True)]
    np.testing.assert_allclose(common.log_prob(value, **at), expected, rtol=1e-9)
    log_prob, mean = common.log_prob_and_mean(value, **at)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9)
    np.testing.assert_allclose(mean, [law.mean for law in laws], rtol=1e-9, atol=1e-12)
    expected = [law.marginal_log_prob(each) for law, each in zip(laws, value, strict=True)]
    np.testing.assert_allclose(common.marginal_log_prob(value, **at), expected, rtol=1e-9)
    expected = [factor_model.law(WANTED).log_prob(each) for each in value]
    np.testing.assert_allclose(process.log_prob(value, **at), expected, rtol=1e-9)


@pytest.mark.parametrize('method', ['mean', 'variance', 'covariance', 'entropy'])
@pytest.mark.parametrize('repeated_targets', [False, True])
def test_moments_match_repeated_poses(method, repeated_targets, factor_model, draw):
    process = factor_model.make(len(WANTED))
    common, repeated = posteriors(factor_model, process, draw(BATCH, len(SEEN), 4))
    found = getattr(common, method)(**factor_model.at([WANTED] * BATCH if repeated_targets else WANTED))
    expected = getattr(repeated, method)(**factor_model.at([WANTED] * BATCH))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('independent', [False, True])
def test_sample_matches_repeated_poses(independent, factor_model, draw):
    process = factor_model.make(len(WANTED), independent_targets=independent)
    common, repeated = posteriors(factor_model, process, draw(BATCH, len(SEEN), 4))
    found = common.sample(5, seed=(1, 2), **factor_model.at(WANTED))
    expected = repeated.sample(5, seed=(1, 2), **factor_model.at([WANTED] * BATCH))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize('independent', [False, True])
def test_sample_without_narrows_factors(independent, models, draw):
    student, gaussian = models('FactorStudentTProcess'), models('FactorGaussianProcess')
    z = 0.3 * draw(BATCH, len(SEEN), 4)
    process = student.make(len(WANTED), independent_targets=independent)
    common, _ = posteriors(student, process, z)
    samples = common.sample(20_000, seed=(1, 2), narrows_factors=False, **student.at(WANTED)).numpy()
    # Without factors, the variance of the Gaussian is that of the residual.
    without = gaussian.with_parameters(loadings=0 * gaussian.parameters['loadings'])
    for index, seen in enumerate(z):
        whole, residual = (model.law(WANTED, seen, SEEN).variance for model in (gaussian, without))
        inflation = student.law(WANTED, seen, SEEN).variance / whole
        expected = inflation * residual + whole - residual
        assert np.abs(expected / (inflation * whole) - 1).max() > 0.1
        np.testing.assert_allclose(samples[:, index].var(0), expected, rtol=0.06)


@pytest.mark.parametrize(('scale', 'evidence'), [(1.0, 1.0), (1.0, 0.1), (2.0, 0.05)])
@pytest.mark.parametrize('independent', [False, True])
def test_sample_with_factor_scale_and_evidence(independent, scale, evidence, models, draw):
    model = models('FactorGaussianProcess')
    z = 0.3 * draw(BATCH, len(SEEN), 4)
    common, _ = posteriors(model, model.make(len(WANTED), independent_targets=independent), z)
    settings = {'factor_scale': scale, 'factor_evidence': evidence}
    samples = common.sample(20_000, seed=(1, 2), **settings, **model.at(WANTED)).numpy()
    # A weight in the precision is its root in the loadings; the variance of the factors is scaled back.
    scaled, without = (
        model.with_parameters(loadings=factor * model.parameters['loadings']).law(WANTED, z[0], SEEN).variance
        for factor in (scale * np.sqrt(evidence), 0.0)
    )
    expected = without + (scaled - without) / evidence
    differs = np.abs(expected / model.law(WANTED, z[0], SEEN).variance - 1).max() > 0.1
    assert differs == ((scale, evidence) != (1.0, 1.0))
    for index, seen in enumerate(z):
        np.testing.assert_allclose(samples[:, index].var(0), expected, rtol=0.06)
        np.testing.assert_allclose(samples[:, index].mean(0), model.law(WANTED, seen, SEEN).mean, atol=0.05)


def test_sample_of_prior_ignores_evidence_and_scales_loadings(models):
    model = models('FactorStudentTProcess')
    wide = model.with_parameters(loadings=2.0 * model.parameters['loadings'])
    settings = {'factor_scale': 2.0, 'factor_evidence': 0.1}
    found = model.make(len(WANTED)).sample(3, seed=(1, 2), **model.at(WANTED), **settings)
    expected = wide.make(len(WANTED)).sample(3, seed=(1, 2), **wide.at(WANTED))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_slice_matches_repeated_poses(factor_model, draw):
    common, repeated = posteriors(factor_model, factor_model.make(len(WANTED)), draw(BATCH, len(SEEN), 4))
    at = factor_model.at(WANTED)
    np.testing.assert_allclose(common[1].mean(**at), repeated[1].mean(**at), rtol=1e-9)


@pytest.mark.parametrize('compiled', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients_match_repeated_poses(compiled, factor_model, draw):
    names = ('loadings', 'residual_variance', 'correlation')
    z, value = draw(BATCH, len(SEEN), 4), draw(BATCH, len(WANTED), 4, seed=1)
    values = {name: tf.constant(factor_model.parameters[name]) for name in names}
    z = tf.constant(z)

    def gradients(seen, wanted):
        with tf.GradientTape() as tape:
            tape.watch([values, z])
            given = factor_model.make(len(WANTED), **values).posterior(z, factor_model.poses(seen))
            at = factor_model.at(wanted)
            loss = tf.reduce_sum(given.log_prob(value, **at)) + tf.reduce_sum(given.mean(**at) * value)
        return [tf.convert_to_tensor(part) for part in tape.gradient(loss, [*values.values(), z])]

    function = tf.function(lambda: gradients(SEEN, WANTED), jit_compile=True) if compiled else None
    found = function() if compiled else gradients(SEEN, WANTED)
    for part, expected in zip(found, gradients([SEEN] * BATCH, [WANTED] * BATCH), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-8, atol=1e-9)
