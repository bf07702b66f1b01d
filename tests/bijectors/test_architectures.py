"""Both architectures: precision of the networks, saving, user-defined encoders and conditioners, bad arguments."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings, RealNVPSettings
from tfp_bruno.networks import FourierPoseEncoder

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


@pytest.mark.slow
def test_bfloat16_networks_match_float32_and_have_gradients(make):
    flow = make()
    mixed = flow.copy(network_dtype='mixed_bfloat16')
    assert all(variable.dtype == tf.float32 for variable in mixed.trainable_variables)
    poses = np.eye(3, dtype=np.float32)
    latents, log_det = mixed.inverse_and_log_det(IMAGES, poses)
    assert (latents.dtype, log_det.dtype) == (tf.float32, tf.float32)
    expected, expected_log_det = flow.inverse_and_log_det(IMAGES, poses)
    # bfloat16 has eight bits: close, but not equal.
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


def test_fourier_poses_interpolate_between_slices():
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


def test_tfp_chain_takes_the_condition_by_name(make):
    flow = make(dtype=tf.float64)
    chain = tfb.Chain([tfb.Scale(tf.constant(2.0, tf.float64)), flow])
    latents, poses = RNG.normal(size=(3, 64)), np.eye(3)
    # The condition is passed under the flow's name; under another name it would be dropped silently.
    images = chain.forward(latents, conditional_real_nvp={'conditional_input': poses})
    np.testing.assert_allclose(images, 2 * flow.forward(latents, conditional_input=poses), rtol=1e-12)
    back = chain.inverse(tf.identity(images), conditional_real_nvp={'conditional_input': poses})
    np.testing.assert_allclose(back, latents, atol=1e-10)
    expected = flow.inverse_log_det_jacobian(images / 2, conditional_input=poses) - 64 * np.log(2.0)
    log_det = chain.inverse_log_det_jacobian(images, 3, conditional_real_nvp={'conditional_input': poses})
    np.testing.assert_allclose(log_det, expected, rtol=1e-10)
    with pytest.raises(ValueError, match='needs the argument `conditional_input`'):
        chain.forward(latents)


@pytest.mark.slow
def test_saved_model_matches(make, tmp_path):
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


def test_checkpoint_restores_the_flow(make, tmp_path):
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
def test_bad_settings_name_the_argument(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        ConditionalRealNVP(shape, 3, settings)


def test_initialize_without_affine_map_is_an_error():
    with pytest.raises(ValueError, match='no affine map to fit; construct it with `pose_affine=True`'):
        ConditionalRealNVP((8, 8, 1), 3, SMALL_REAL_NVP).initialize(None, None, np.eye(3))


@pytest.mark.parametrize('settings', ['glow', SMALL_REAL_NVP])
def test_make_conditioner_of_wrong_shape_is_an_error(settings):
    def make_conditioner(shape, condition_size):
        del shape, condition_size
        return lambda x, conditional_input: (x[..., :1], x)

    shape = (8, 8, 2)
    with pytest.raises(ValueError, match=r'must give shift and log_scale of shape \[1, .*got \[\[1, '):
        ConditionalRealNVP(shape, 3, settings, make_conditioner=make_conditioner)
