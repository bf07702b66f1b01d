"""The fixed rotation that gives latent vectors the order of the pixels."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalChain, ConditionalRealNVP, FixedRotation, GlowSettings, ImageLogit
from tfp_bruno.bijectors.pixel_order import initial_rotation

IMAGES = np.random.default_rng(0).uniform(0.05, 0.95, size=(2, 8, 8, 1))
POSES = np.eye(3)[:2]
GLOW = {'first_squeeze': 2, 'filters': (8, 8), 'dense_units': 16, 'pose_units': 8}


@pytest.mark.parametrize(
    'settings',
    [
        GlowSettings(couplings=(2, 1), dense_couplings=1, **GLOW),
        GlowSettings(couplings=(0, 1), dense_couplings=2, every_step=False, **GLOW),
    ],
)
def test_latents_of_an_untrained_flow_are_logits_in_the_order_of_pixels(settings):
    flow = ConditionalRealNVP((8, 8, 1), 3, settings, latents='pixels', dtype=tf.float64)
    latents, log_det = flow.inverse_and_log_det(IMAGES, POSES)
    np.testing.assert_allclose(np.reshape(latents, IMAGES.shape), flow.logit(IMAGES), atol=1e-10)
    np.testing.assert_allclose(flow.without_couplings(flow.logit(IMAGES)), latents, atol=1e-10)
    _, logit_log_det = ImageLogit((8, 8, 1), settings.alpha, dtype=tf.float64).inverse_and_log_det(IMAGES)
    np.testing.assert_allclose(log_det, logit_log_det, rtol=1e-10)


def test_rotation_is_not_trained(make_flow):
    plain, ordered = make_flow(), make_flow(latents='pixels')
    assert len(ordered.trainable_variables) == len(plain.trainable_variables)
    assert len(ordered.variables) > len(plain.variables)


def test_checkpoint_restores_the_order_of_pixels(tmp_path):
    settings = GlowSettings(couplings=(1, 1), dense_couplings=1, **GLOW)
    flows = [ConditionalRealNVP((8, 8, 1), 3, settings, latents='pixels', seed=seed) for seed in (1, 2)]
    path = tf.train.Checkpoint(flow=flows[0]).write(str(tmp_path / 'flow'))
    tf.train.Checkpoint(flow=flows[1]).read(path).assert_consumed()
    images, poses = IMAGES.astype(np.float32), POSES.astype(np.float32)
    latents = [flow.inverse(images, conditional_input=poses) for flow in flows]
    np.testing.assert_array_equal(*latents)
    np.testing.assert_allclose(np.reshape(latents[1], images.shape), flows[1].logit(images), atol=1e-5)


def test_real_nvp_has_no_initial_rotation():
    with pytest.raises(ValueError, match="`latents='pixels'` needs the architecture 'glow'"):
        ConditionalRealNVP((8, 8, 1), 3, 'real_nvp', latents='pixels')
    with pytest.raises(ValueError, match='has no rotation to start from'):
        initial_rotation(ConditionalChain([ImageLogit((8, 8, 1), 0.2)]))


def test_matrix_must_be_orthogonal():
    with pytest.raises(ValueError, match=r'`matrix` of shape \(4, 4\) is no orthogonal matrix of 4 channels'):
        FixedRotation((2, 2, 4), 2.0 * np.eye(4))
