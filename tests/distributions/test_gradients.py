"""Gradients with respect to every parameter, the observations and the poses, against central differences in float64.

Densities and moments are differenced in the dense reference, samples in the library.
"""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

SEEN, WANTED = (1, 4, 5), (0, 2)


def differences(function, values):
    """Central differences of a function of a dictionary of arrays to a number, by name."""
    gradients = {}
    for name, value in values.items():
        value, gradients[name] = np.asarray(value, float), np.zeros(np.shape(value))
        for index in np.ndindex(value.shape):
            step, sides = 1e-5 * max(1.0, abs(value[index])), []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * step
                sides.append(function({**values, name: moved}))
            gradients[name][index] = (sides[0] - sides[1]) / (2 * step)
    return gradients


def as_tensors(values):
    return {name: tf.constant(value, tf.float64) for name, value in values.items()}


def assert_gradients(function, reference, values):
    """Checks the gradients of a fixed combination of the outputs of `function`."""
    tensors = as_tensors(values)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = function(tensors)
        weights = np.cos(np.arange(out.shape.num_elements())).reshape(out.shape)
        loss = tf.reduce_sum(out * weights)
    gradients = tape.gradient(loss, tensors)
    expected = differences(lambda values: np.sum(reference(values) * weights), values)
    for name, exact in gradients.items():
        assert exact is not None, name
        # That of a table is sparse.
        exact = tf.convert_to_tensor(exact)
        assert np.any(exact != 0), name
        np.testing.assert_allclose(exact, expected[name], rtol=2e-5, atol=1e-5, err_msg=name)


def values_of(model, draw):
    values = {**model.parameters, 'z_seen': draw(3, 4, seed=1), 'z': draw(2, 4)}
    return values if model.is_exchangeable else {**values, 'length': model.length}


def both(model, values):
    """The process of the values, and its posterior given `z_seen`."""
    parameters = {name: value for name, value in values.items() if name in model.parameters}
    length = {'length': values['length']} if 'length' in values else {}
    process = model.make(2, **parameters, **length)
    return process, model.posterior(process, values['z_seen'], SEEN, 2)


def laws(model, values, wanted):
    """The dense references of `both`."""
    parameters = {name: value for name, value in values.items() if name in model.parameters}
    model = type(model)(model.name, {**model.parameters, **parameters}, values.get('length', model.length))
    return model.law(wanted), model.law(wanted, values['z_seen'], SEEN)


CASES = [('ExchangeableGaussianProcess', 1), ('ExchangeableStudentTProcess', 1)]
CASES += [(f'{family}{kind}Process', 2) for family in ('Pose', 'Factor') for kind in ('Gaussian', 'StudentT')]


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def grouped_model(request, models):
    return models(*request.param)


def test_log_prob_gradients(grouped_model, draw):
    model, at = grouped_model, grouped_model.at(WANTED)

    def function(values):
        (prior, posterior), z = both(model, values), values['z']
        joint = [prior.log_prob(z, **at), posterior.log_prob(z, **at)]
        return tf.concat([joint, posterior.marginal_log_prob(z, **at)], axis=0)

    def reference(values):
        (prior, posterior), z = laws(model, values, WANTED), values['z']
        return np.array([prior.log_prob(z), posterior.log_prob(z), *posterior.marginal_log_prob(z)])

    assert_gradients(function, reference, values_of(model, draw))


def test_moment_and_entropy_gradients(grouped_model, draw):
    model, at = grouped_model, grouped_model.at(WANTED)
    values = {name: value for name, value in values_of(model, draw).items() if name != 'z'}

    def function(values):
        prior, posterior = both(model, values)
        parts = posterior.mean(**at), posterior.variance(**at), posterior.covariance(**at)
        parts = *parts, prior.covariance(**at), posterior.entropy(**at)
        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)

    def reference(values):
        prior, posterior = laws(model, values, WANTED)
        parts = posterior.mean, posterior.variance, posterior.covariance, prior.covariance, posterior.entropy()
        return np.concatenate([np.ravel(part) for part in parts])

    assert_gradients(function, reference, values)


@pytest.mark.parametrize('share', [1.0, 0.0])
def test_log_prob_gradients_with_equal_eigenvalues(share, pose_model, draw):
    """A constant correlation has one eigenvalue n - 1 times; equal poses repeat rows, too."""
    model, slices = pose_model, [2, 2, 4, 4]
    values = values_of(model, draw) | {'constant_share': np.float64(share), 'z': draw(4, 4, seed=2)}
    if share == 1.0:
        # The length does not count.
        del values['length']

    def function(values):
        parts = [one.copy(num_steps=4) for one in both(model, values)]
        return tf.stack([one.log_prob(values['z'], **model.at(slices)) for one in parts])

    assert_gradients(
        function, lambda values: np.array([law.log_prob(values['z']) for law in laws(model, values, slices)]), values
    )


@pytest.mark.slow
@pytest.mark.parametrize('independent', [False, True])
@pytest.mark.parametrize(('name', 'groups'), [case for case in CASES if 'StudentT' in case[0]])
def test_sample_gradients(name, groups, independent, models, draw):
    """With a fixed seed, a sample is a smooth function of everything but df."""
    model = models(name, groups)
    values = {name: value for name, value in values_of(model, draw).items() if name not in ('z', 'df')}

    def function(values):
        kwargs = {'seed': (1, 2), **model.at(WANTED)}
        parts = [one.copy(independent_targets=independent).sample(2, **kwargs) for one in both(model, values)]
        return tf.concat(parts, axis=0)

    compiled = tf.function(function)
    assert_gradients(function, lambda values: compiled(as_tensors(values)).numpy(), values)


@pytest.mark.slow
@pytest.mark.parametrize('independent', [False, True])
@pytest.mark.parametrize('family', ['Exchangeable', 'Pose', 'Factor'])
def test_sample_gradients_by_degrees_of_freedom(family, independent, models):
    """The mean absolute deviation depends on df, as SciPy says; implicit gradients are right on average."""
    model = models(f'{family}StudentTProcess')
    df = tf.constant(np.full(np.shape(model.parameters['df']), 5.0))
    with tf.GradientTape() as tape:
        tape.watch(df)
        process = model.make(2, df=df, independent_targets=independent)
        errors = process.sample(100_000, seed=(1, 2), **model.at(WANTED)) - model.parameters['loc']
        size = tf.reduce_mean(tf.abs(errors) / process.stddev(**model.at(WANTED)))
    gradient = tf.reduce_sum(tape.gradient(size, df))

    def mean_size(df):
        return scipy.stats.t(df, scale=np.sqrt((df - 2) / df)).expect(np.abs)

    np.testing.assert_allclose(size, mean_size(5.0), rtol=0.01)
    np.testing.assert_allclose(gradient, (mean_size(5.01) - mean_size(4.99)) / 0.02, rtol=0.05)


def test_log_prob_gradients_by_poses(pose_model, draw):
    """Through kernel and loadings, at poses that are not one-hot."""
    model = pose_model
    soft = 0.8 * model.poses([1, 4]) + 0.2 * model.poses([2, 3]) + 0.01 * draw(2, 6, seed=3)
    changes = {}
    if model.is_factor:
        table = tf.constant(model.parameters['loadings'])
        changes['loadings'] = lambda poses: tf.einsum('...p,pdq->...dq', poses, table)
    process = model.posterior(model.make(2, **changes), draw(2, 4, seed=1), [0, 5], 2)

    def function(values):
        return process.log_prob(values['z'], conditional_input=values['poses'])

    compiled = tf.function(function)
    values = {'z': draw(2, 4), 'poses': soft}
    assert_gradients(function, lambda values: compiled(as_tensors(values)).numpy(), values)
