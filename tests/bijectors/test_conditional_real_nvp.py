"""The whole flow: its start, its gradients, TFP's interface, and that no value is ever stale."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings
from tfp_bruno.networks import ConvolutionalConditioner, DenseConditioner, OneHotPoseEncoder

RNG = np.random.default_rng(0)
LATENTS = tf.constant(RNG.normal(size=(2, 64)), tf.float32)
POSES = tf.constant(np.eye(3)[:2], tf.float32)
SMALL = GlowSettings(first_squeeze=2, couplings=(1,), filters=(4,), dense_couplings=1, dense_units=4, pose_units=4)


def normal(dtype=tf.float32):
    return tfd.MultivariateNormalDiag(tf.zeros([64], dtype), tf.ones([64], dtype))


def test_untrained_flow_is_the_logit_and_a_rotation():
    flow = ConditionalRealNVP((4, 4, 1), 3, SMALL, dtype=tf.float64)
    images = np.random.default_rng(2).uniform(size=(5, 4, 4, 1))
    latents, log_det = flow.inverse_and_log_det(images, np.eye(3)[[0, 1, 2, 0, 1]])
    logits = scipy.special.logit(0.8 * images + 0.1)
    np.testing.assert_allclose(flow.logit(images), logits, rtol=1e-12)
    np.testing.assert_allclose(latents, flow.without_couplings(logits), atol=1e-10)
    np.testing.assert_allclose(
        latents.numpy() @ latents.numpy().T, logits.reshape(5, -1) @ logits.reshape(5, -1).T, rtol=1e-9
    )
    p = 0.8 * images + 0.1
    np.testing.assert_allclose(log_det, np.log(0.8 / (p * (1 - p))).sum((1, 2, 3)), rtol=1e-9)


def test_initialize_maps_zero_to_the_mean_of_each_pose():
    flow = ConditionalRealNVP((4, 4, 1), 3, SMALL, dtype=tf.float64)
    mean, scale = RNG.normal(size=(3, 4, 4, 1)), RNG.uniform(0.5, 2.0, size=(3, 4, 4, 1))
    flow.initialize(mean, scale, np.eye(3))
    images = flow.forward(np.zeros((3, 16)), conditional_input=np.eye(3))
    np.testing.assert_allclose(flow.logit(images), mean, atol=1e-5)
    # One unit of rotated latent is one standard deviation.
    unit = flow.without_couplings(np.ones((3, 4, 4, 1)))
    np.testing.assert_allclose(flow.logit(flow.forward(unit, conditional_input=np.eye(3))), mean + scale, atol=1e-5)


def test_trained_couplings_depend_on_the_pose(make_flow):
    flow = make_flow()
    images = flow.forward(LATENTS[0], conditional_input=np.eye(3)).numpy()
    assert min(np.abs(images[i] - images[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-2
    # The couplings depend on the pose, not only the affine map.
    before = [flow._core._inverse_and_log_det(flow.logit(images[:1]), pose)[0] for pose in encoded(flow)]
    assert np.abs(before[0] - before[1]).max() > 1e-3


def encoded(flow):
    return [flow._encoder(tf.eye(3)[index : index + 1]) for index in range(2)]


def test_flows_of_equal_settings_share_no_cached_values(make_flow):
    flows = [make_flow(seed=seed) for seed in (1, 2)]
    images = [flow.forward(LATENTS, conditional_input=POSES).numpy() for flow in flows]
    assert np.abs(images[0] - images[1]).max() > 1e-3
    shared = tf.constant(images[0])
    latents = [flow.inverse(shared, conditional_input=POSES) for flow in flows]
    np.testing.assert_allclose(latents[0], LATENTS, atol=1e-4)
    assert np.abs(latents[1] - LATENTS).max() > 1e-3
    densities = [
        tfd.TransformedDistribution(normal(), flow).log_prob(shared, bijector_kwargs={'conditional_input': POSES})
        for flow in flows
    ]
    assert np.abs(densities[0] - densities[1]).max() > 1e-3


def test_changed_condition_changes_the_log_det(make_flow):
    flow = make_flow()
    changed = np.array(POSES)
    images = tf.constant(RNG.uniform(size=(2, 8, 8, 1)), tf.float32)
    first = flow.inverse_log_det_jacobian(images, conditional_input=changed)
    changed[:] = changed[::-1]
    second = flow.inverse_log_det_jacobian(images, conditional_input=changed)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(
        second, flow.inverse_log_det_jacobian(tf.identity(images), conditional_input=POSES[::-1])
    )


def test_changed_weights_change_the_inverse(make_flow):
    flow = make_flow()
    images = tf.constant(RNG.uniform(size=(2, 8, 8, 1)), tf.float32)
    before = flow.inverse(images, conditional_input=POSES)
    flow.trainable_variables[0].assign_add(0.1 * tf.ones_like(flow.trainable_variables[0]))
    assert np.abs(before - flow.inverse(images, conditional_input=POSES)).max() > 1e-3


@pytest.mark.parametrize('bound', [False, True])
def test_gradient_of_samples_drawn_outside_the_tape_matches_differences(make_flow, bound):
    flow = make_flow(dtype=tf.float64)
    distribution = tfd.TransformedDistribution(normal(tf.float64), tfb.Invert(tfb.Invert(flow)) if bound else flow)
    kwargs = {'bijector_kwargs': {'conditional_input': tf.cast(POSES, tf.float64)}}
    images = distribution.sample(2, seed=(1, 2), **kwargs)

    def loss():
        return tf.reduce_sum(distribution.log_prob(images, **kwargs))

    variable = flow.trainable_variables[3]
    direction = np.random.default_rng(4).normal(size=variable.shape)
    start, step = variable.numpy(), 1e-5
    variable.assign(start + step * direction)
    above = loss()
    variable.assign(start - step * direction)
    slope = (above - loss()).numpy() / (2 * step)
    variable.assign(start)
    for _ in range(2):  # A second tape on the same tensor works like the first.
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = loss()
        to_weights, to_images = tape.gradient(value, [variable, images])
        np.testing.assert_allclose(np.sum(to_weights * direction), slope, rtol=1e-5)
        assert np.all(np.isfinite(to_images))
        assert np.any(to_images != 0)


def test_each_network_is_evaluated_once(make_flow, monkeypatch):
    calls = []
    for network in (ConvolutionalConditioner, DenseConditioner, OneHotPoseEncoder):
        monkeypatch.setattr(network, '__call__', counted(network.__call__, calls))
    flow = make_flow()
    calls.clear()
    images = flow.forward(LATENTS, conditional_input=POSES)
    # Three convolutional couplings, a dense one, and the encoder of poses.
    assert len(calls) == 5
    for evaluate, value in ((flow.inverse_and_log_det, images), (flow.forward_and_log_det, LATENTS)):
        calls.clear()
        evaluate(value, POSES)
        assert len(calls) == 5


def counted(function, calls):
    def call(self, *args, **kwargs):
        calls.append(type(self).__name__)
        return function(self, *args, **kwargs)

    return call


@pytest.mark.slow
@pytest.mark.parametrize('jit_compile', [False, True])
def test_function_matches_eager(jit_compile):
    flow = ConditionalRealNVP((4, 4, 1), 3, SMALL)
    for variable in flow.trainable_variables:
        variable.assign_add(0.05 * tf.ones_like(variable))
    images = tf.constant(RNG.uniform(size=(2, 4, 4, 1)), tf.float32)
    compiled = tf.function(flow.inverse_and_log_det, autograph=False, jit_compile=jit_compile)
    for out, expected in zip(compiled(images, POSES), flow.inverse_and_log_det(images, POSES), strict=True):
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_transformed_distribution_and_invert_match_the_flow(make_flow):
    flow = make_flow(dtype=tf.float64)
    poses = tf.cast(POSES, tf.float64)
    distribution = tfd.TransformedDistribution(normal(tf.float64), flow)
    kwargs = {'bijector_kwargs': {'conditional_input': poses}}
    images = distribution.sample([4, 2], seed=(1, 2), **kwargs)
    assert images.shape == (4, 2, 8, 8, 1)
    latents, log_det = flow.inverse_and_log_det(images, poses)
    expected = normal(tf.float64).log_prob(latents) + log_det
    np.testing.assert_allclose(distribution.log_prob(images, **kwargs), expected, rtol=1e-10)
    images, log_prob = distribution.experimental_sample_and_log_prob([4, 2], seed=(3, 4), **kwargs)
    np.testing.assert_allclose(log_prob, distribution.log_prob(tf.identity(images), **kwargs), rtol=1e-9)

    inverted = tfb.Invert(flow)
    back = inverted.inverse(inverted.forward(images, conditional_input=poses), conditional_input=poses)
    np.testing.assert_allclose(back, images, atol=1e-10)
    np.testing.assert_array_equal(
        inverted.forward_log_det_jacobian(images, conditional_input=poses),
        flow.inverse_log_det_jacobian(images, conditional_input=poses),
    )


def test_missing_condition_in_a_distribution_names_bijector_kwargs(make_flow):
    with pytest.raises(ValueError, match=r"bijector_kwargs=\{'conditional_input'"):
        tfd.TransformedDistribution(normal(), make_flow()).log_prob(tf.zeros([8, 8, 1]))


def test_trainable_variables_all_have_gradients(make_flow):
    flow = make_flow(dtype=tf.float64)
    # Per convolutional coupling: pose maps, 4 kernels and biases, 2 modulations of 2; per dense one: 4 and 2; before
    # each, an ActNorm of 2 and 3 factors of a 1 x 1 convolution; 2 tables of the affine map; 3 of the encoder.
    assert len(flow.trainable_variables) == 3 * (1 + 2 * 4 + 2 * 2) + 6 + 4 * (2 + 3) + 2 + 3
    distribution = tfd.TransformedDistribution(normal(tf.float64), flow)
    with tf.GradientTape() as tape:
        value = distribution.log_prob(RNG.uniform(size=(3, 8, 8, 1)), bijector_kwargs={'conditional_input': np.eye(3)})
    gradients = tape.gradient(value, flow.trainable_variables)
    assert all(gradient is not None and np.any(gradient != 0) for gradient in gradients)


def test_checkpoint_restores_a_glow_flow(make_flow, tmp_path):
    flow, other = make_flow(seed=1), make_flow(seed=2)
    images = flow.forward(LATENTS, conditional_input=POSES)
    path = tf.train.Checkpoint(flow=flow).write(str(tmp_path / 'flow'))
    tf.train.Checkpoint(flow=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.forward(LATENTS, conditional_input=POSES), images)


def test_equal_seeds_give_equal_rotations():
    first, same, other = (ConditionalRealNVP((4, 4, 1), 3, SMALL, seed=seed) for seed in (1, 1, 2))
    value = RNG.normal(size=(2, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(first.without_couplings(value), same.without_couplings(value))
    assert np.abs(first.without_couplings(value) - other.without_couplings(value)).max() > 1e-2
