"""The checks of TFP's own conformance tests, for every public process."""

import inspect

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno import distributions

WANTED = np.array([[0, 2], [3, 5], [4, 1]])
SEEN = np.array([[1, 4], [0, 2], [5, 3]])
NAMES = tuple(name for name in distributions.__all__ if name.endswith('Process'))
SETTINGS = ('independent_targets', 'validate_args', 'allow_nan_stats', 'jitter', 'name')


def batched(model, draw):
    """A posterior of batch shape [2, 3], in which poses, observations and parameters have different batch shapes."""
    z_seen = draw(3, 2, 4, seed=1)
    process = model.make(2, loc=draw(2, 1, 4, seed=2)).at(model.poses(WANTED))
    return process.posterior(z_seen, model.poses(SEEN), poses=model.poses(WANTED)), z_seen


def laws(model, draw):
    """The dense references of `batched`, `[2][3]`."""
    _, z_seen = batched(model, draw)
    return [
        [
            model.with_parameters(loc=loc).law(wanted, z, seen)
            for wanted, z, seen in zip(WANTED, z_seen, SEEN, strict=True)
        ]
        for loc in draw(2, 4, seed=2)
    ]


def test_parameter_properties_name_every_parameter(model):
    names = set(inspect.signature(model.process_class).parameters) - set(SETTINGS)
    assert set(model.process_class.parameter_properties()) == names


def test_parameter_properties_match_parameter_shapes(model, draw):
    process, _ = batched(model, draw)
    shape = [*process.batch_shape, *process.event_shape]
    trainable = set()
    for name, properties in model.process_class.parameter_properties(tf.float64).items():
        value, event_ndims = getattr(process, name), properties.instance_event_ndims(process)
        if value is None or not properties.is_tensor or not isinstance(event_ndims, int):
            continue
        batch = value.shape[: max(0, value.shape.rank - event_ndims)]
        assert tf.broadcast_static_shape(batch, process.batch_shape) == process.batch_shape, name
        if properties.is_preferred and not properties.specifies_shape:
            trainable.add(name)
            expected = tf.broadcast_static_shape(value.shape, tf.TensorShape(properties.shape_fn(shape)))
            assert expected == tf.TensorShape(properties.shape_fn(shape)), name
    assert trainable == set(model.parameters) - {'loadings'}


def test_batch_and_event_shape(model, draw):
    process, _ = batched(model, draw)
    assert process.batch_shape == [2, 3]
    assert process.event_shape == [2, 4]
    np.testing.assert_array_equal(process.batch_shape_tensor(), [2, 3])
    np.testing.assert_array_equal(process.event_shape_tensor(), [2, 4])


@pytest.mark.parametrize('statistic', ['mean', 'mode', 'variance', 'stddev', 'covariance', 'entropy'])
def test_statistics_have_batch_and_event_shape(statistic, model, draw):
    process, _ = batched(model, draw)
    expected = {'covariance': (2, 3, 8, 8), 'entropy': (2, 3)}.get(statistic, (2, 3, 2, 4))
    value = getattr(process, statistic)()
    assert value.shape == expected
    reference = [[_statistic(law, statistic) for law in row] for row in laws(model, draw)]
    np.testing.assert_allclose(value, reference, rtol=1e-8, atol=1e-9)


def _statistic(law, name):
    if name == 'entropy':
        return law.entropy()
    return np.sqrt(law.variance) if name == 'stddev' else getattr(law, {'mode': 'mean'}.get(name, name))


def test_sample_and_log_prob(model, draw):
    process, _ = batched(model, draw)
    assert process.sample(seed=(1, 2)).shape == (2, 3, 2, 4)
    samples, log_prob = process.experimental_sample_and_log_prob([5, 1], seed=(1, 2))
    assert samples.shape == (5, 1, 2, 3, 2, 4)
    assert log_prob.shape == (5, 1, 2, 3)
    np.testing.assert_array_equal(samples, process.sample([5, 1], seed=(1, 2)))
    reference = [
        [law.log_prob(samples[4, 0, i, j]) for j, law in enumerate(row)] for i, row in enumerate(laws(model, draw))
    ]
    np.testing.assert_allclose(log_prob[4, 0], reference, rtol=1e-8)
    np.testing.assert_allclose(process.log_prob(samples), log_prob, rtol=1e-9)
    np.testing.assert_allclose(process.prob(samples), np.exp(log_prob), rtol=1e-7)


def indices(size):
    """One index of an axis: a number, a slice, or a new axis before a slice."""
    numbers = st.integers(-size, size - 1)
    slices = st.builds(slice, st.none() | numbers, st.none() | numbers, st.sampled_from([None, 1, 2, -1]))
    kept = slices.filter(lambda part: len(range(*part.indices(size))) > 0)
    return numbers | kept


@pytest.mark.slow
@hypothesis.settings(max_examples=4, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    index=st.one_of(
        st.tuples(indices(2)),
        st.tuples(indices(2), indices(3)),
        st.tuples(st.just(Ellipsis), indices(3)),
        st.tuples(st.just(tf.newaxis), indices(2), st.just(Ellipsis)),
    )
)
@pytest.mark.parametrize('name', NAMES)
def test_slice_has_the_values_of_the_batch(name, index, models, draw):
    model, z = models(name), draw(2, 4, seed=3)
    process, _ = batched(model, draw)
    sliced = process[index if len(index) > 1 else index[0]]
    over_batch = index if Ellipsis in index else (*index, Ellipsis)
    for event_ndims, method in enumerate(
        (lambda one: one.log_prob(z), lambda one: one.marginal_log_prob(z), lambda one: one.mean())
    ):
        expected, value = method(process).numpy()[(*over_batch, *[slice(None)] * event_ndims)], method(sliced)
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-10)
    assert sliced.sample(seed=(1, 2)).shape == (*sliced.batch_shape, 2, 4)


def test_slice_of_bound_poses(model, draw):
    """Only the poses have a batch, and a slice of the process has a slice of them."""
    process, z = model.make(2).at(model.poses(WANTED)), draw(2, 4)
    expected = [model.law(wanted).log_prob(z) for wanted in WANTED]
    assert process.batch_shape == [3]
    np.testing.assert_allclose(process.log_prob(z), expected, rtol=1e-9)
    for index in (0, 2, slice(None, None, -1), slice(1, None)):
        assert process[index].batch_shape == np.shape(np.array(expected)[index])
        np.testing.assert_allclose(process[index].log_prob(z), np.array(expected)[index], rtol=1e-9)


def test_copy_with_other_arguments(model, draw):
    process, _ = batched(model, draw)
    z, loc = draw(2, 4, seed=3), draw(4, seed=4)
    same = process.copy()
    np.testing.assert_array_equal(same.log_prob(z), process.log_prob(z))
    moved = model.make(None, poses=model.poses(WANTED[0])).copy(loc=loc)
    np.testing.assert_allclose(moved.log_prob(z), model.with_parameters(loc=loc).law(WANTED[0]).log_prob(z), rtol=1e-9)
    assert isinstance(same, model.process_class)


def test_composite_tensor_causes_no_new_trace(model, draw):
    process, z, traces = model.make(2), draw(2, 4), []

    @tf.function(autograph=False)
    def bind(poses):
        traces.append('bind')
        return process.at(poses)

    @tf.function(autograph=False)
    def score(process, z):
        traces.append('score')
        return process.log_prob(z), process.mean()

    for wanted in WANTED:
        law = model.law(wanted)
        # Made in a function, and outside.
        for bound in (bind(tf.constant(model.poses(wanted))), process.at(model.poses(wanted))):
            assert isinstance(bound, model.process_class)
            log_prob, mean = score(bound, z)
            np.testing.assert_allclose(log_prob, law.log_prob(z), rtol=1e-9)
            np.testing.assert_allclose(mean, law.mean, atol=1e-10)
    assert sorted(traces) == ['bind', 'score']


def test_composite_tensor_in_a_while_loop(model, draw):
    z = draw(3, 4)
    stream = model.make(1).at(model.poses([1]))
    if not model.is_exchangeable:
        # Observations are kept: their shapes change from step to step.
        parts = tf.nest.flatten(stream, expand_composites=True)
        stream = tf.nest.pack_sequence_as(stream, parts, expand_composites=True)
        np.testing.assert_allclose(stream.log_prob(z[:1]), model.law([1]).log_prob(z[:1]), rtol=1e-9)
        return

    def take(step, process):
        return step + 1, process.update(tf.gather(z, step))

    stream = model.posterior(stream, z[:0], [], 1)
    _, after = tf.while_loop(lambda step, _: step < 3, take, (tf.constant(0), stream))
    np.testing.assert_allclose(after.log_prob(z[:1]), model.law([1], z, [0, 1, 2]).log_prob(z[:1]), rtol=1e-9)


def test_gradients_reach_every_variable_through_slices_and_posteriors(model, draw):
    variables = {name: tf.Variable(value) for name, value in model.parameters.items()}
    process, z = model.make(2, **variables), draw(2, 4)
    with tf.GradientTape() as tape:
        bound = process.at(model.poses(WANTED))
        posterior = bound.posterior(draw(3, 2, 4, seed=1), model.poses(SEEN))
        loss = tf.reduce_sum(bound[::-1].log_prob(z)) + posterior[1].log_prob(z) + tf.reduce_sum(posterior.mean() * z)
    for name, gradient in tape.gradient(loss, variables).items():
        assert gradient is not None, name
        gradient = tf.convert_to_tensor(gradient)
        assert np.all(np.isfinite(gradient)), name
        assert np.any(gradient != 0), name


def test_update_constructs_one_process(model, draw, monkeypatch):
    """Time and memory of a stream are linear: no update repeats the earlier ones, or keeps them."""
    constructed, original = [], model.process_class._set_up
    monkeypatch.setattr(
        model.process_class, '_set_up', lambda self, arguments: constructed.append(1) or original(self, arguments)
    )
    process, z = model.make(2), draw(20, 4)
    for vector in z:
        process = model.update(process, vector, 3)
    assert len(constructed) == 21
    law = model.law(WANTED[0], z, [3] * 20)
    np.testing.assert_allclose(process.log_prob(z[:2], **model.at(WANTED[0])), law.log_prob(z[:2]), rtol=1e-8)


def test_make_trainable_batch_and_event_shape(model, kernel):
    given = {} if model.is_exchangeable else {'kernel': kernel(2.5, np.float32)}
    if model.is_factor:
        given['loadings'] = model.parameters['loadings'].astype(np.float32)
    for batch in ([], [5]):
        process = tfp.experimental.util.make_trainable(
            model.process_class, batch_and_event_shape=[*batch, 3, 4], num_steps=3, **given
        )
        assert process.batch_shape == batch
        assert process.event_shape == [3, 4]
        at = model.at([0, 2, 5], np.float32)
        assert process.sample(seed=(1, 2), **at).shape == (*batch, 3, 4)
        # Data are not parameters.
        assert len(process.trainable_variables) == len(set(model.parameters) - {'loadings'})
        assert process.poses is None
        for name in ('observations', 'observed_poses', 'observations_is_missing'):
            assert getattr(process, name, None) is None


def test_make_trainable_names_missing_arguments(models, kernel):
    model = models('FactorStudentTProcess')
    with pytest.raises(ValueError, match=r'give `loadings`, a tensor \[P, D, q\]') as caught:
        tfp.experimental.util.make_trainable(
            model.process_class, batch_and_event_shape=[3, 4], num_steps=3, kernel=kernel(2.5, np.float32)
        )
    assert '\n' not in str(caught.value)
    with pytest.raises(ValueError, match=r'`batch_and_event_shape` must be \[\.\.\., num_steps, D\]'):
        tfp.experimental.util.make_trainable(
            distributions.ExchangeableGaussianProcess, batch_and_event_shape=[4], num_steps=3
        )


def test_poses_bound_or_as_conditional_input(model, draw):
    """`conditional_input` takes precedence over bound poses; wrong ones are refused by every process."""
    process, z = model.make(2), draw(2, 4)
    law = model.law(WANTED[0])
    bound = process.at(model.poses(WANTED[0]))
    np.testing.assert_allclose(bound.log_prob(z), law.log_prob(z), rtol=1e-9)
    np.testing.assert_allclose(process.log_prob(z, **model.at(WANTED[0])), law.log_prob(z), rtol=1e-9)
    other = bound.log_prob(z, **model.at(WANTED[1]))
    np.testing.assert_allclose(other, model.law(WANTED[1]).log_prob(z), rtol=1e-9)
    with pytest.raises(ValueError, match=r'one pose per vector, got poses \(3, 6\) and vectors \(2, 4\)'):
        process.log_prob(z, **model.at([1, 2, 3]))
    with pytest.raises(ValueError, match=r'poses must have shape \[\.\.\., n, .*\], got \(6,\)'):
        process.at(np.eye(6)[0])
    with pytest.raises(ValueError, match='`num_steps` is 3, but `poses` have shape'):
        model.make(3, poses=model.poses(WANTED[0]))
