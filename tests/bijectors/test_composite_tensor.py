"""Bijectors pass through a `tf.function`, are saved, and are found by tf_keras, with their own variables."""

import gc
import weakref

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_bruno
from tfp_bruno.bijectors import BoundCondition, ConditionalAffine, ConditionalChain, ConditionalRealNVP, ImageLogit

IMAGES = tf.constant(np.random.default_rng(0).uniform(size=(2, 8, 8, 1)), tf.float32)
POSES = [tf.constant(np.random.default_rng(seed).normal(size=(2, 3)), tf.float32) for seed in range(3)]


def unbound(flow):
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [64]), flow)


def bound(flow, poses):
    return unbound(BoundCondition(flow, poses))


def model_of(bijector, loc=None):
    loc = tf.zeros([64]) if loc is None else loc
    process = tfp_bruno.distributions.ExchangeableGaussianProcess(loc, tf.ones([64]), tf.fill([64], 0.5), 2)
    return tfp_bruno.ConditionalBruno(process, bijector)


def same(variables, others):
    return [id(variable) for variable in variables] == [id(variable) for variable in others]


@pytest.mark.slow
@pytest.mark.parametrize('make', [bound, lambda flow, poses: model_of(BoundCondition(flow, poses))])
def test_function_takes_and_returns_distributions_of_the_same_flow(make, make_flow):
    flow, traces = make_flow(), []

    @tf.function(autograph=False)
    def score(distribution, images):
        traces.append(distribution)
        assert distribution.bijector.bijector is flow
        return distribution.log_prob(images), distribution

    for poses in POSES:
        distribution = make(flow, poses)
        with tf.GradientTape() as tape:
            value, result = score(distribution, IMAGES)
            total = tf.reduce_sum(value) + tf.reduce_sum(result.log_prob(IMAGES))
        with tf.GradientTape() as eager_tape:
            expected = distribution.log_prob(IMAGES)
            eager_total = 2.0 * tf.reduce_sum(expected)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert result.bijector.bijector is flow
        np.testing.assert_array_equal(result.bijector.conditional_input, poses)
        assert set(map(id, flow.variables)) <= set(map(id, result.variables))
        variables = flow.trainable_variables
        pairs = zip(tape.gradient(total, variables), eager_tape.gradient(eager_total, variables), strict=True)
        for actual, wanted in pairs:
            np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-3)
    assert len(traces) == 1
    flow.trainable_variables[3].assign_add(tf.ones_like(flow.trainable_variables[3]))
    changed, _ = score(distribution, IMAGES)
    assert np.abs(changed - value).max() > 1e-2
    np.testing.assert_allclose(changed, distribution.log_prob(IMAGES), rtol=1e-5)


def test_function_returns_a_distribution_that_it_constructs(make_flow):
    flow = make_flow()
    make = tf.function(lambda poses: bound(flow, poses), autograph=False)
    for poses in POSES:
        distribution = make(poses)
        assert distribution.bijector.bijector is flow
        np.testing.assert_allclose(distribution.log_prob(IMAGES), bound(flow, poses).log_prob(IMAGES), rtol=1e-5)
    assert make.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('jit_compile', [False, True])
def test_function_takes_and_returns_a_bijector(jit_compile):
    flow = ConditionalAffine((4,), 3)
    flow._loc.assign(np.random.default_rng(0).normal(size=(3, 4)))

    @tf.function(autograph=False, jit_compile=jit_compile)
    def shift(flow, again, x, poses):
        y = again.forward(x, conditional_input=poses)
        return tf.gradients(y, flow.trainable_variables)[0], y, flow

    # The same flow twice is one set of variables.
    gradient, y, result = shift(flow, flow, tf.ones([2, 4]), POSES[0])
    assert result is flow
    np.testing.assert_allclose(y, flow.forward(tf.ones([2, 4]), conditional_input=POSES[0]), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.tile(np.sum(POSES[0], 0)[:, None], 4), rtol=1e-5)
    other = ConditionalAffine((4,), 3)
    _, y, result = shift(other, other, tf.ones([2, 4]), POSES[0])
    assert result is other
    np.testing.assert_array_equal(y, np.ones([2, 4]))


def test_modules_find_the_variables_inside_a_function(make_flow):
    flow = make_flow()
    holder = tf.Module()

    @tf.function(autograph=False)
    def count(distribution):
        holder.distribution = distribution
        assert same(distribution.trainable_variables, flow.trainable_variables)
        assert same(holder.trainable_variables, flow.trainable_variables)
        return tf.constant(len(holder.trainable_variables))

    assert count(unbound(flow)) == len(flow.trainable_variables)


def test_bijector_in_nested_functions_loops_and_branches():
    flow = ConditionalAffine((4,), 3)
    flow._loc.assign(np.random.default_rng(0).normal(size=(3, 4)))
    inner = tf.function(lambda flow: flow, autograph=False)

    @tf.function(autograph=False)
    def run(flow, poses):
        def step(i, flow, total):
            return i + 1, flow, total + flow.forward(tf.zeros([2, 4]), conditional_input=poses)

        _, looped, total = tf.while_loop(lambda i, *_: i < 3, step, (0, inner(flow), tf.zeros([2, 4])))
        return tf.cond(tf.reduce_sum(total) > 0, lambda: looped, lambda: flow), total

    result, total = run(flow, POSES[0])
    assert result is flow
    np.testing.assert_allclose(total, 3.0 * POSES[0] @ flow._loc, rtol=1e-5)


def test_type_specs_of_two_flows_differ(make_flow):
    one, other = make_flow(seed=1), make_flow(seed=2)
    assert one._type_spec == one._type_spec
    assert one._type_spec != other._type_spec
    assert one._type_spec.most_specific_common_supertype([other._type_spec]) is None
    with pytest.raises((TypeError, ValueError)):
        tf.function(lambda choice: tf.cond(choice, lambda: one, lambda: other), autograph=False)(tf.constant(True))


def test_trace_does_not_keep_the_flow_alive():
    affine = ConditionalAffine((4,), 3)
    function = tf.function(lambda flow, x: flow.forward(x, conditional_input=tf.zeros([3])), autograph=False)
    function(affine, tf.zeros([4]))
    reference, spec = weakref.ref(affine), affine._type_spec
    del affine
    gc.collect()
    assert reference() is None
    with pytest.raises(ReferenceError, match='no longer exists'):
        spec._from_components([])


class Scorer(tf.Module):
    """Distributions as parts of a module that is saved."""

    def __init__(self, flow):
        super().__init__()
        self.bound, self.unbound = bound(flow, POSES[0]), unbound(flow)

    @tf.function(input_signature=[tf.TensorSpec([2, 8, 8, 1])], autograph=False)
    def score(self, images):
        free = self.unbound.log_prob(images, bijector_kwargs={'conditional_input': POSES[0]})
        return self.bound.log_prob(images), free


@pytest.mark.slow
def test_saved_model_of_distributions_matches(make_flow, tmp_path):
    scorer = Scorer(make_flow())
    tf.saved_model.save(scorer, str(tmp_path / 'scorer'))
    module = tf.saved_model.load(str(tmp_path / 'scorer'))
    for loaded, own in zip(module.score(IMAGES), scorer.score(IMAGES), strict=True):
        np.testing.assert_allclose(loaded, own, rtol=1e-5)


def test_saved_function_with_a_bijector_argument_is_an_error(tmp_path):
    module, flow = tf.Module(), ConditionalAffine((4,), 3)
    module.forward = tf.function(lambda flow, x: flow.forward(x, conditional_input=tf.zeros([3])), autograph=False)
    module.forward(flow, tf.zeros([4]))
    with pytest.raises(ValueError, match='cannot be an argument or a result of a function in a SavedModel'):
        tf.saved_model.save(module, str(tmp_path / 'module'))


class Holder(tf_keras.Model):
    """A tf_keras model with an object of this library in an attribute."""

    def __init__(self, content):
        super().__init__()
        self.content = content

    def call(self, x):
        return x


CONTENTS = {
    'flow': lambda flow: flow,
    'list': lambda flow: [flow],
    'inverse': tfb.Invert,
    'chain': lambda flow: ConditionalChain([ImageLogit((8, 8, 1)), ConditionalAffine((8, 8, 1), 3)]),
    'bound': lambda flow: BoundCondition(flow, POSES[0]),
    'distribution': lambda flow: bound(flow, POSES[0]),
    'model': lambda flow: model_of(flow, tf.Variable(tf.zeros([64]))),
}


@pytest.mark.parametrize('kind', CONTENTS)
def test_keras_saves_and_loads_all_weights(kind, make_flow, tmp_path):
    path = str(tmp_path / 'model.weights.h5')
    holder, other = (Holder(CONTENTS[kind](make_flow(seed=seed))) for seed in (1, 2))
    values = [variable.numpy() + 1 if variable.dtype != tf.bool else variable.numpy() for variable in holder.variables]
    for variable, value in zip(holder.variables, values, strict=True):
        variable.assign(value)
    for model in (holder, other):
        model(tf.zeros([1, 1]))
    holder.save_weights(path)
    saved = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: saved.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(saved) == len(holder.variables) > 0
    other.load_weights(path)
    for variable, value in zip(other.variables, values, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize('attribute', ['variables', 'trainable_variables', 'non_trainable_variables'])
def test_variables_have_the_order_of_modules(attribute, make_flow):
    """Checkpoints of runs hold `model.variables` as a list."""
    flow = make_flow()
    predicate = {
        'variables': lambda leaf: isinstance(leaf, tf.Variable),
        'trainable_variables': lambda leaf: isinstance(leaf, tf.Variable) and leaf.trainable,
        'non_trainable_variables': lambda leaf: isinstance(leaf, tf.Variable) and not leaf.trainable,
    }[attribute]
    assert same(getattr(flow, attribute), tf.Module._flatten(flow, predicate=predicate))
    first = [variable.name for variable in flow.variables[:5]]
    names = ['actnorm/is_initialized', 'actnorm/loc', 'actnorm/log_scale']
    assert first == [
        f'{name}:0' for name in [*names, *(f'invertible_convolution/{n}' for n in ('log_diagonal', 'lower'))]
    ]
    assert isinstance(flow, ConditionalRealNVP)
