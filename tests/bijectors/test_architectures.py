"""The RealNVP architecture's size, precision of the networks, poses and conditioners of one's own."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings, MaskedAffineCoupling, RealNVPSettings
from tfp_bruno.networks import FourierPoseEncoder, WeightNormConvolutionalConditioner, WeightNormDenseConditioner

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 8, 8, 1)).astype(np.float32)
SMALL_REAL_NVP = RealNVPSettings(
    scales=2, filters=6, num_blocks=1, dense_couplings=2, dense_units=8, pose_units=5, alpha=0.2
)


@pytest.fixture(params=['glow', 'real_nvp'])
def make(request, make_flow):
    """A function that makes a small flow with random weights; the test runs once per architecture."""
    settings = {} if request.param == 'glow' else {'settings': SMALL_REAL_NVP}
    return lambda **kwargs: make_flow(**{**settings, **kwargs})


def couplings(flow):
    return [part for part in flow.submodules if isinstance(part, MaskedAffineCoupling)]


def test_the_real_nvp_architecture():
    flow = ConditionalRealNVP((32, 32, 1), 2, 'real_nvp')
    networks = [coupling._conditioner for coupling in couplings(flow)]
    assert sum(isinstance(network, WeightNormConvolutionalConditioner) for network in networks) == 16
    assert sum(isinstance(network, WeightNormDenseConditioner) for network in networks) == 6
    # With variance and correlation of its process, 2 x 1024, the official code counts 15,460,314.
    assert sum(variable.shape.num_elements() for variable in flow.trainable_variables) == 15_460_314 - 2048
    shapes = sorted(network.first.shape[2] for network in networks if hasattr(network, 'first'))
    # At 32 x 32, 16 x 16 (by channel, by checkerboard), 8 x 8 (likewise).
    assert shapes == [1] * 3 + [2] * 3 + [4] * 7 + [8] * 3


def test_gradients_of_the_real_nvp_flow_can_be_recomputed(make_flow):
    kept = make_flow(settings=SMALL_REAL_NVP)
    again = make_flow(settings=dataclasses.replace(SMALL_REAL_NVP, recompute=True))
    images, poses = tf.constant(IMAGES), tf.constant(RNG.normal(size=(3, kept.condition_size)), tf.float32)
    for own, other in zip(again.variables, kept.variables, strict=True):
        own.assign(other)

    def gradients(flow):
        with tf.GradientTape() as tape:
            latents, log_det = flow.inverse_and_log_det(images, poses)
            loss = tf.reduce_mean(tf.square(latents)) - tf.reduce_mean(log_det)
        return tape.gradient(loss, flow.trainable_variables)

    for expected, actual in zip(gradients(kept), gradients(again), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    # That they are: there are no second derivatives then.
    with pytest.raises(NotImplementedError, match='recompute_grad'), tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            squares = tf.reduce_sum(tf.square(again.inverse_and_log_det(images, poses)[0]))
        outer.gradient(tf.reduce_sum(tf.square(inner.gradient(squares, images))), images)


def test_the_real_nvp_architecture_for_the_paper():
    flow = ConditionalRealNVP((64, 64, 1), 80, 'real_nvp')
    assert flow.forward_event_shape([4096]) == [64, 64, 1]
    assert len(couplings(flow)) == 22


def test_networks_in_bfloat16(make):
    flow = make()
    mixed = flow.copy(network_dtype='mixed_bfloat16')
    assert all(variable.dtype == tf.float32 for variable in mixed.trainable_variables)
    poses = np.eye(3, dtype=np.float32)
    latents, log_det = mixed.inverse_and_log_det(IMAGES, poses)
    assert (latents.dtype, log_det.dtype) == (tf.float32, tf.float32)
    expected, expected_log_det = flow.inverse_and_log_det(IMAGES, poses)
    # bfloat16 has eight bits: near, and not the same.
    apart = np.abs(latents - expected)
    assert 0 < apart.max() < 0.1 * np.abs(expected).max()
    np.testing.assert_allclose(log_det, expected_log_det, rtol=0.02)
    with tf.GradientTape() as tape:
        latents, log_det = mixed.inverse_and_log_det(IMAGES, poses)
        loss = tf.reduce_sum(latents**2) - tf.reduce_sum(log_det)
    gradients = tape.gradient(loss, mixed.trainable_variables)
    for variable, gradient in zip(mixed.trainable_variables, gradients, strict=True):
        assert gradient.dtype == tf.float32, variable.name
        assert np.any(gradient != 0), variable.name


def test_positions_between_slices():
    flow = ConditionalRealNVP((8, 8, 1), 1, make_pose_encoder=lambda: FourierPoseEncoder(8, 3), **tiny())
    grid = np.linspace(0, 1, 5, dtype=np.float32)[:, np.newaxis]
    mean = np.linspace(-1, 1, 5)[:, None, None, None] * np.ones((5, 8, 8, 1))
    flow.initialize(mean, np.ones_like(mean), grid)
    zero = np.zeros((1, 64), np.float32)
    at_half = flow.logit(flow.forward(zero, conditional_input=[[0.5]]))
    between = flow.logit(flow.forward(zero, conditional_input=[[0.55]]))
    np.testing.assert_allclose(at_half, 0.0, atol=1e-3)
    assert 0.01 < np.mean(between) < 0.5


def tiny():
    return {'settings': GlowSettings(2, (1,), (4,), dense_couplings=0, pose_units=4)}


def test_inside_a_chain(make):
    flow = make(dtype=tf.float64)
    chain = tfb.Chain([tfb.Scale(tf.constant(2.0, tf.float64)), flow])
    latents, poses = RNG.normal(size=(3, 64)), np.eye(3)
    # The condition goes by the flow's name, and would be dropped in silence under another.
    images = chain.forward(latents, conditional_real_nvp={'conditional_input': poses})
    np.testing.assert_allclose(images, 2 * flow.forward(latents, conditional_input=poses), rtol=1e-12)
    back = chain.inverse(tf.identity(images), conditional_real_nvp={'conditional_input': poses})
    np.testing.assert_allclose(back, latents, atol=1e-10)
    expected = flow.inverse_log_det_jacobian(images / 2, conditional_input=poses) - 64 * np.log(2.0)
    log_det = chain.inverse_log_det_jacobian(images, 3, conditional_real_nvp={'conditional_input': poses})
    np.testing.assert_allclose(log_det, expected, rtol=1e-10)
    with pytest.raises(ValueError, match='needs the argument `conditional_input`'):
        chain.forward(latents)


def test_saved_model(make, tmp_path):
    flow = make()
    module = tf.Module()
    module.flow = flow
    module.invert = tf.function(
        flow.inverse_and_log_det,
        input_signature=[tf.TensorSpec([None, 8, 8, 1]), tf.TensorSpec([None, 3])],
        autograph=False,
    )
    poses = np.eye(3, dtype=np.float32)
    expected = flow.inverse_and_log_det(IMAGES, poses)
    tf.saved_model.save(module, str(tmp_path / 'flow'))
    loaded = tf.saved_model.load(str(tmp_path / 'flow'))
    for out, value in zip(loaded.invert(IMAGES, poses), expected, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-5, atol=1e-4)


def test_checkpoint_of_either(make, tmp_path):
    flow, other = make(seed=1), make(seed=2)
    path = tf.train.Checkpoint(flow=flow).write(str(tmp_path / 'flow'))
    tf.train.Checkpoint(flow=other).read(path).assert_consumed()
    poses = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(
        other.inverse(IMAGES, conditional_input=poses), flow.inverse(IMAGES, conditional_input=poses)
    )


@pytest.mark.parametrize(
    ('settings', 'shape', 'message'),
    [
        ('maf', (8, 8, 1), "`settings` must be one of 'glow', 'real_nvp'.* got 'maf'"),
        ('real_nvp', (30, 32, 1), r'`image_shape` \[30, 32, 1\] must be divisible by 4 for 3 scales'),
        ('glow', (8, 8), r'`image_shape` must be \[H, W, C\], three positive integers, got \(8, 8\)'),
    ],
)
def test_what_does_not_fit(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        ConditionalRealNVP(shape, 3, settings)


def test_a_flow_without_affine_map_says_so():
    with pytest.raises(ValueError, match='no affine map to start; construct it with `pose_affine=True`'):
        ConditionalRealNVP((8, 8, 1), 3, SMALL_REAL_NVP).initialize(None, None, np.eye(3))


@pytest.mark.parametrize('settings', ['glow', SMALL_REAL_NVP])
def test_a_conditioner_of_the_wrong_shape(settings):
    def make_conditioner(shape, condition_size):
        del shape, condition_size
        return lambda x, conditional_input: (x[..., :1], x)

    shape = (8, 8, 2)
    with pytest.raises(ValueError, match=r'must give shift and log_scale of shape \[1, .*got \[\[1, '):
        ConditionalRealNVP(shape, 3, settings, make_conditioner=make_conditioner)


@pytest.mark.parametrize(('every_step', 'actnorms', 'convolutions'), [(True, 4, 4), (False, 0, 3)])
def test_what_stands_before_the_couplings(make_flow, every_step, actnorms, convolutions):
    settings = GlowSettings(2, (2, 1), (4, 4), dense_couplings=1, dense_units=8, pose_units=4, every_step=every_step)
    flow = make_flow(settings=settings, dtype=tf.float64)
    kinds = [type(part).__name__ for part in flow.submodules]
    assert kinds.count('ActNorm') == actnorms
    # Otherwise one at the start of each of two scales, and one before the dense coupling.
    assert kinds.count('InvertibleConvolution') == convolutions
    latents = flow.inverse(IMAGES, conditional_input=np.eye(3))
    np.testing.assert_allclose(flow.forward(latents, conditional_input=np.eye(3)), IMAGES, atol=1e-8)
