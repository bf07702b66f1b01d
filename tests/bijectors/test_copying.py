"""Slices and copies keep the variables, or are errors."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_bruno.bijectors import BoundCondition, ConditionalAffine, ConditionalBijector

RNG = np.random.default_rng(0)


def same(variables, others):
    plain = [[getattr(variable, '_variable', variable) for variable in part] for part in (variables, others)]
    return len(plain[0]) == len(plain[1]) and all(one is other for one, other in zip(*plain, strict=True))


@pytest.mark.parametrize('index', [..., tf.newaxis, (..., tf.newaxis), ()])
def test_slice_of_all_is_the_bijector(make_bijector, index):
    bijector = make_bijector(tf.float32)
    assert bijector[index] is bijector


@pytest.mark.parametrize('index', [0, slice(None), (..., 0), slice(None, None, 2)])
def test_index_without_a_batch_dimension_is_an_error(make_bijector, index):
    bijector = make_bijector(tf.float32)
    with pytest.raises(ValueError, match=rf'^{bijector.name} has no batch dimension, too few for the index .*$'):
        bijector[index]


@pytest.mark.parametrize('index', [..., 0, tf.newaxis, (..., tf.newaxis)])
def test_slice_of_a_distribution_keeps_the_bijector(index):
    flow = ConditionalAffine((4,), 3)
    distribution = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(tf.zeros([2]), 1.0), [4]), flow)
    assert distribution[index].bijector is flow
    scalar = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [4]), tfb.Invert(flow))
    if index != 0:
        assert scalar[index].bijector.bijector is flow
    assert scalar.copy(name='copy').bijector.bijector is flow


def test_slice_of_a_bound_condition_slices_the_condition(make_flow):
    flow = make_flow()
    poses = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    bound = BoundCondition(flow, poses)
    x = tf.constant(RNG.normal(size=(2, 5, 64)), tf.float32)
    y = bound.forward(x)
    assert bound.experimental_batch_shape() == [2, 5]
    assert bound.experimental_batch_shape(x_event_ndims=2) == [2]
    reverse = slice(None, None, -1)
    for index in (0, slice(None), (1, 2), (slice(None), 3), (slice(None), slice(1, 4)), reverse, (..., reverse)):
        part = bound[index]
        assert part.bijector is flow
        chosen = np.arange(10).reshape(2, 5)[index]
        x_part, y_part = (tf.gather(tf.reshape(value, [10, *value.shape[2:]]), chosen) for value in (x, y))
        np.testing.assert_allclose(part.forward(x_part), y_part, rtol=1e-5, atol=1e-6)
    distribution = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [64]), bound)
    assert distribution.batch_shape == [2, 5]
    expected = distribution.log_prob(y)
    assert expected.shape == [2, 5]
    np.testing.assert_allclose(distribution[1, ::2].log_prob(y[1, ::2]), expected[1, ::2], rtol=1e-4)
    with pytest.raises(ValueError, match=r'bound_condition has 2 batch dimensions, too few for the index \[0, 0, 0\]'):
        bound[0, 0, 0]


@pytest.mark.slow
def test_copy_shares_the_variables(make_bijector):
    bijector = make_bijector(tf.float32)
    values = [variable.numpy() for variable in bijector.variables]
    for copied in (bijector.copy(), bijector.copy(name='other', validate_args=True)):
        assert copied is not bijector
        assert type(copied) is type(bijector)
        assert same(copied.variables, bijector.variables)
        x = tf.constant(RNG.normal(size=(2, *bijector._event_shape_of_x)), tf.float32)
        for out, expected in zip(
            copied.forward_and_log_det(x, tf.ones([2, 3])),
            bijector.forward_and_log_det(x, tf.ones([2, 3])),
            strict=True,
        ):
            np.testing.assert_array_equal(out, expected)
    assert (copied.name, copied.validate_args) == ('other', True)
    assert copied.parameters['name'] == 'other'
    for variable, value in zip(bijector.variables, values, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_copy_with_other_settings_shares_the_variables(make_flow):
    flow = make_flow()
    copied = flow.copy(settings=dataclasses.replace(flow.settings, log_scale_bound=0.5))
    assert same(copied.variables, flow.variables)
    x = tf.ones([2, 64])
    assert np.abs(
        copied.forward(x, conditional_input=np.eye(3)[:2]) - flow.forward(x, conditional_input=np.eye(3)[:2])
    ).max()
    mixed = make_flow(network_dtype='mixed_bfloat16')
    assert same(mixed.copy(name='copy').variables, mixed.variables)


@pytest.mark.parametrize('changes', [{'image_shape': (4, 4, 1)}, {'condition_size': 4}, {'dtype': tf.float64}])
def test_copy_with_other_variable_shapes_is_an_error(changes, make_flow):
    flow = make_flow()
    with pytest.raises(
        ValueError, match=r'^conditional_real_nvp: with these arguments a copy would start with new weights'
    ):
        flow.copy(**changes)


def test_user_bijector_can_be_sliced_and_copied(all_makers):
    """The example of the documentation has no code for slices and copies."""
    power = all_makers['conditional_power'](tf.float32)
    power.log_powers.assign(RNG.normal(size=(3, 1)))
    assert power[...] is power
    assert same(power.copy(name='copy').variables, [power.log_powers])
    with pytest.raises(ValueError, match='construct ConditionalPower instead'):
        power.copy(condition_size=4)


class Assigning(ConditionalBijector):
    """A bijector whose constructor assigns to its variable."""

    def __init__(self, name='assigning'):
        parameters = dict(locals())
        self.shift = tf.Variable(0.0)
        self.shift.assign(1.0)
        super().__init__((1,), (1,), parameters=parameters, name=name)

    def _forward_and_log_det(self, x, condition):
        return x + self.shift, tf.zeros([tf.shape(x)[0]])

    def _inverse_and_log_det(self, y, condition):
        return y - self.shift, tf.zeros([tf.shape(y)[0]])


def test_copy_with_an_assigning_constructor_is_an_error():
    bijector = Assigning()
    bijector.shift.assign(5.0)
    with pytest.raises(ValueError, match='Assigning cannot be copied'):
        bijector.copy(name='copy')
    assert bijector.shift.numpy() == 5.0
