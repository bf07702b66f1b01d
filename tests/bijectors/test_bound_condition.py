"""A flow with a fixed condition, used where no keyword argument can be passed."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_bruno.bijectors import BoundCondition

CONDITION = np.random.default_rng(0).normal(size=(2, 3))
LATENTS = np.random.default_rng(1).normal(size=(2, 64))


@pytest.mark.slow
def test_bound_condition_matches_the_conditional_bijector(make_flow):
    flow = make_flow(dtype=tf.float64)
    bound = BoundCondition(flow, CONDITION)
    kwargs = {'conditional_input': CONDITION}
    images = flow.forward(LATENTS, **kwargs)
    np.testing.assert_array_equal(bound.forward(LATENTS), images)
    np.testing.assert_array_equal(bound.inverse(images), flow.inverse(images, **kwargs))
    np.testing.assert_array_equal(
        bound.forward_log_det_jacobian(LATENTS), flow.forward_log_det_jacobian(LATENTS, **kwargs)
    )
    np.testing.assert_array_equal(
        bound.inverse_log_det_jacobian(images), flow.inverse_log_det_jacobian(images, **kwargs)
    )
    for pair, single in (
        (bound.forward_and_log_det(LATENTS), flow.forward_and_log_det(LATENTS, CONDITION)),
        (bound.inverse_and_log_det(images), flow.inverse_and_log_det(images, CONDITION)),
    ):
        np.testing.assert_array_equal(pair[0], single[0])
        np.testing.assert_array_equal(pair[1], single[1])


def test_bound_condition_has_shapes_and_variables_of_the_bijector(make_flow):
    flow = make_flow()
    bound = BoundCondition(flow, CONDITION.astype(np.float32))
    assert bound.forward_event_shape([7, 64]) == [7, 8, 8, 1]
    assert bound.inverse_event_shape([7, 8, 8, 1]) == [7, 64]
    np.testing.assert_array_equal(bound.forward_event_shape_tensor([7, 64]), [7, 8, 8, 1])
    np.testing.assert_array_equal(bound.inverse_event_shape_tensor([7, 8, 8, 1]), [7, 64])
    assert bound.bijector is flow
    assert bound.conditional_input.shape == (2, 3)
    assert {id(v) for v in bound.trainable_variables} == {id(v) for v in flow.trainable_variables}


def test_bound_conditions_share_no_cached_values(make_flow):
    flow = make_flow()
    latents = tf.constant(LATENTS, tf.float32)
    first = BoundCondition(flow, tf.zeros([2, 3]))
    second = BoundCondition(flow, tf.ones([2, 3]))
    outputs = [bijector.forward(latents).numpy() for bijector in (first, second)]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


@pytest.mark.slow
def test_bound_condition_in_a_joint_distribution_and_a_chain(make_flow):
    flow = make_flow(dtype=tf.float64)
    bound = BoundCondition(flow, CONDITION)
    base = tfd.MultivariateNormalDiag(np.zeros((2, 64)), np.ones(64))
    joint = tfd.JointDistributionSequential([tfd.TransformedDistribution(base, bound)])
    (images,) = joint.sample(seed=(1, 2))
    latents, log_det = flow.inverse_and_log_det(images, CONDITION)
    expected = base.log_prob(latents) + log_det
    np.testing.assert_allclose(joint.log_prob([images]), expected, rtol=1e-10)
    chained = tfb.Chain([tfb.Scale(np.float64(2.0)), bound])
    np.testing.assert_allclose(chained.forward(LATENTS), 2.0 * bound.forward(LATENTS), rtol=1e-12)
    np.testing.assert_allclose(
        chained.forward_log_det_jacobian(LATENTS),
        bound.forward_log_det_jacobian(LATENTS) + 64 * np.log(2.0),
        rtol=1e-10,
    )
