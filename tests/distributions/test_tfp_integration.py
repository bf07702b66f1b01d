"""The processes with the rest of TFP: graphs, XLA, composition, slicing, saving, variables."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

pytestmark = pytest.mark.slow

SEEN, WANTED = (1, 4), (0, 2)
FAMILIES = ('Exchangeable', 'Pose', 'Factor')


def run_one(model, process, z):
    """Density, mean and samples."""
    at = model.at(WANTED, process.dtype.as_numpy_dtype)
    return process.log_prob(z, **at), process.mean(**at), process.sample(3, seed=(1, 2), **at)


def test_graph_mode_matches_eager_mode(student_model, draw):
    model = student_model
    z, z_seen, process = draw(2, 4), draw(2, 4, seed=1), model.make(2)

    def run(z, z_seen):
        return run_one(model, model.posterior(process, z_seen, SEEN, 2), z)

    for value, out in zip(run(z, z_seen), tf.function(run)(z, z_seen), strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_jit_compile_matches_dense_reference(student_model, draw):
    model = student_model
    z, z_seen = draw(2, 4).astype(np.float32), draw(2, 4, seed=1).astype(np.float32)
    process, law = model.make(2, np.float32), model.law(WANTED, z_seen, SEEN)

    @tf.function(jit_compile=True)
    def run(z, z_seen):
        return run_one(model, model.posterior(process, z_seen, SEEN, 2), z)

    log_prob, mean, samples = run(z, z_seen)
    np.testing.assert_allclose(log_prob, law.log_prob(z), rtol=1e-4)
    np.testing.assert_allclose(mean, law.mean, atol=1e-4)
    # XLA draws other random numbers.
    assert samples.shape == (3, 2, 4)
    assert np.all(np.isfinite(samples))


def test_process_is_argument_and_result_of_a_function(student_model, draw):
    model = student_model
    variance = {model.variance_name: tf.Variable(model.variance)}
    process, z, z_seen = model.make(2, **variance), draw(2, 4), draw(2, 4, seed=1)

    @tf.function
    def condition(process, z):
        return process.log_prob(z, **model.at(WANTED)), model.posterior(process, z_seen, SEEN, 2)

    log_prob, posterior = condition(process, z)
    assert isinstance(posterior, model.process_class)
    assert posterior.event_shape == [2, 4]
    law = model.law(WANTED, z_seen, SEEN)
    np.testing.assert_allclose(log_prob, model.law(WANTED).log_prob(z), rtol=1e-9)
    np.testing.assert_allclose(posterior.log_prob(z, **model.at(WANTED)), law.log_prob(z), rtol=1e-9)
    # Again in, and through tf.nest.
    np.testing.assert_allclose(condition(posterior, z)[0], law.log_prob(z), rtol=1e-9)
    parts = tf.nest.flatten(process, expand_composites=True)
    rebuilt = tf.nest.pack_sequence_as(process, parts, expand_composites=True)
    np.testing.assert_allclose(rebuilt.log_prob(z, **model.at(WANTED)), log_prob, rtol=1e-9)


def test_shapes_unknown_before_run_time(student_model, draw):
    """Numbers of steps and batches that are known only at run time."""
    model, process = student_model, student_model.make(2)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4], tf.float64), tf.TensorSpec([None, 6], tf.float64)])
    def run(z, poses):
        where = {'conditional_input': poses}
        whole = process.copy(num_steps=tf.shape(z)[-2])
        posterior = process.posterior(z, poses, num_steps=tf.shape(z)[-2])
        return whole.log_prob(z, **where), posterior.mean(**where), whole.sample(5, seed=(1, 2), **where)

    z = draw(3, 2, 4)
    log_prob, mean, sample = run(z, model.poses(WANTED))
    law = model.law(WANTED)
    np.testing.assert_allclose(log_prob, [law.log_prob(one) for one in z], rtol=1e-9)
    np.testing.assert_allclose(mean, [model.law(WANTED, one, WANTED).mean for one in z], atol=1e-9)
    assert sample.shape == (5, 2, 4)


def test_slice_matches_batch_member(model, draw):
    loc, variance = draw(2, 1, 4), 0.5 + draw(3, 4, seed=1) ** 2
    process, z = model.make(2, loc=loc, **{model.variance_name: variance}), draw(2, 4, seed=2)
    at = model.at(WANTED)
    assert process.batch_shape == [2, 3]
    each = [model.with_parameters(loc=one[0], **{model.variance_name: other}) for one in loc for other in variance]
    log_prob = np.reshape([one.law(WANTED).log_prob(z) for one in each], (2, 3))
    for index in (
        0,
        (Ellipsis, np.newaxis),
        (1, 2),
        (slice(None), slice(1, 3)),
        (np.newaxis, slice(None, None, -1)),
    ):
        sliced, expected = process[index], log_prob[index]
        assert sliced.batch_shape == expected.shape
        np.testing.assert_allclose(sliced.log_prob(z, **at), expected, rtol=1e-9)
    assert sliced.sample(seed=(1, 2), **at).shape == (*expected.shape, 2, 4)


def test_slice_of_posterior_with_bound_poses(pose_model, draw):
    model, z_seen, slices = pose_model, draw(3, 2, 4), np.array([[0, 1], [2, 3], [4, 5]])
    process = model.make(1).posterior(z_seen, model.poses(slices), poses=model.poses(slices[::-1]))
    assert process.batch_shape == [3]
    assert process.event_shape == [2, 4]
    for index in range(3):
        law = model.law(slices[2 - index], z_seen[index], slices[index])
        np.testing.assert_allclose(process[index].mean(), law.mean, atol=1e-9)
        np.testing.assert_allclose(process[index].variance(), law.variance, rtol=1e-9)
    assert process[..., tf.newaxis].sample(2, seed=(1, 2)).shape == (2, 3, 1, 2, 4)


def test_copy_replaces_arguments(model, draw):
    process, z = model.make(2, name='subjects'), draw(3, 4)
    copy = process.copy(num_steps=3, loc=model.parameters['loc'] + 1.0)
    assert copy.event_shape == [3, 4]
    assert copy.num_steps == 3
    shifted = model.with_parameters(loc=model.parameters['loc'] + 1.0)
    np.testing.assert_allclose(copy.log_prob(z, **model.at([0, 1, 2])), shifted.law([0, 1, 2]).log_prob(z), rtol=1e-9)
    assert model.posterior(process, z, [0, 1, 2], 2).name.startswith('subjects')


def test_sample_repeats_with_its_seed(model):
    process, at = model.make(2), model.at(WANTED)
    first, same, other = (process.sample(3, seed=(1, seed), **at) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).min() > 0


def test_joint_distribution_log_prob(model):
    """Processes with bound poses and a random mean, by name and in sequence."""
    named = model.is_student
    parts = [
        tfd.Sample(tfd.Normal(np.float64(0.0), np.float64(2.0)), 4),
        lambda loc: model.make(None, loc=loc, poses=model.poses(WANTED)),
    ]
    joint = (
        tfd.JointDistributionNamed({'loc': parts[0], 'z': parts[1]})
        if named
        else tfd.JointDistributionSequential(parts)
    )
    sample = joint.sample(3, seed=(1, 2))
    loc, z = (sample['loc'], sample['z']) if named else sample
    assert z.shape == (3, 2, 4)
    expected = [
        np.sum(-0.5 * one**2 / 4 - np.log(2) - 0.5 * np.log(2 * np.pi))
        + model.with_parameters(loc=one).law(WANTED).log_prob(other)
        for one, other in zip(loc.numpy(), z.numpy(), strict=True)
    ]
    np.testing.assert_allclose(joint.log_prob(sample), expected, rtol=1e-9)


class Scorer(tf.Module):
    """A process as part of a model that is saved."""

    def __init__(self, model, **changes):
        super().__init__()
        self.process, self._model = model.make(2, **changes), model

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 4], tf.float64)])
    def score(self, z):
        return self.process.log_prob(z, **self._model.at(WANTED))


def test_saved_model_log_prob(model, draw, tmp_path):
    z = draw(3, 2, 4)
    scorer = Scorer(model, loc=tf.Variable(model.parameters['loc']))
    tf.saved_model.save(scorer, str(tmp_path / 'scorer'))
    loaded = tf.saved_model.load(str(tmp_path / 'scorer'))
    law = model.law(WANTED)
    np.testing.assert_allclose(loaded.score(z), [law.log_prob(one) for one in z], rtol=1e-9)


def trainable(model, kernel, kind):
    """Arguments that make every parameter trainable, including the length of the kernel."""
    constraints = model.process_class.parameter_properties(tf.float64)
    makers = {
        'variable': lambda value, _: tf.Variable(value),
        'transformed': tfp.util.TransformedVariable,
        'deferred': lambda value, bijector: tfp.util.DeferredTensor(tf.Variable(bijector.inverse(value)), bijector),
    }
    arguments = {
        name: makers[kind](tf.constant(value), constraints[name].default_constraining_bijector_fn())
        for name, value in model.parameters.items()
    }
    if not model.is_exchangeable:
        length = tfp.util.TransformedVariable(model.length, tfp.bijectors.Softplus())
        arguments['kernel'] = kernel(length)
    return arguments


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        *((f'{family}{law}Process', 'transformed') for family in FAMILIES for law in ('Gaussian', 'StudentT')),
        ('FactorStudentTProcess', 'variable'),
        ('PoseStudentTProcess', 'deferred'),
    ],
)
def test_trainable_variables_all_have_gradients(name, kind, models, kernel, draw):
    model = models(name)
    arguments, z = trainable(model, kernel, kind), draw(2, 4)
    process = model.make(2, **arguments)
    assert len(process.trainable_variables) == len(arguments)
    with tf.GradientTape() as tape:
        log_prob = process.log_prob(z, **model.at(WANTED))
        total = log_prob + model.posterior(process, z + 1.0, SEEN, 2).log_prob(z, **model.at(WANTED))
    np.testing.assert_allclose(log_prob, model.law(WANTED).log_prob(z), rtol=1e-9)
    for variable, gradient in zip(
        process.trainable_variables, tape.gradient(total, process.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.name
        gradient = tf.convert_to_tensor(gradient)
        assert np.all(np.isfinite(gradient)), variable.name
        assert np.any(gradient != 0), variable.name


def test_checkpoint_restores_parameters(model, kernel, draw, tmp_path):
    z, at = draw(2, 4), model.at(WANTED)
    process, other = (model.make(2, **trainable(model, kernel, 'transformed')) for _ in range(2))
    for variable in process.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    assert abs(other.log_prob(z, **at) - process.log_prob(z, **at)) > 1e-3
    path = tf.train.Checkpoint(process=process).write(str(tmp_path / 'process'))
    tf.train.Checkpoint(process=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.log_prob(z, **at), process.log_prob(z, **at))


def test_default_constraint_keeps_parameters_in_range(model):
    constraints = model.process_class.parameter_properties(tf.float32)
    bounds = {'df': (2.0, np.inf), 'correlation': (0.0, 1.0), 'constant_share': (0.0, 1.0)}
    bounds[model.variance_name] = (0.0, np.inf)
    for name in bounds.keys() & model.parameters.keys():
        low, high = bounds[name]
        value = constraints[name].default_constraining_bijector_fn().forward(tf.constant([-50.0, 0.0, 5.0])).numpy()
        assert low <= value.min(), name
        assert value.max() < high, name
    bijector = model.make(2).experimental_default_event_space_bijector()
    np.testing.assert_array_equal(bijector.forward(np.ones((2, 4))), np.ones((2, 4)))
