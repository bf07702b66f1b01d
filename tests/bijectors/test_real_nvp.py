"""The RealNVP architecture: its size against the official code, and recomputed gradients."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalRealNVP, MaskedAffineCoupling, RealNVPSettings
from tfp_bruno.networks import WeightNormConvolutionalConditioner, WeightNormDenseConditioner

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 8, 8, 1)).astype(np.float32)
SMALL_REAL_NVP = RealNVPSettings(
    scales=2, filters=6, num_blocks=1, dense_couplings=2, dense_units=8, pose_units=5, alpha=0.2
)


def couplings(flow):
    return [part for part in flow.submodules if isinstance(part, MaskedAffineCoupling)]


def test_real_nvp_has_the_parameters_of_the_official_code():
    flow = ConditionalRealNVP((32, 32, 1), 2, 'real_nvp')
    networks = [coupling._conditioner for coupling in couplings(flow)]
    assert sum(isinstance(network, WeightNormConvolutionalConditioner) for network in networks) == 16
    assert sum(isinstance(network, WeightNormDenseConditioner) for network in networks) == 6
    # With variance and correlation of its process, 2 x 1024, the official code counts 15,460,314.
    assert sum(variable.shape.num_elements() for variable in flow.trainable_variables) == 15_460_314 - 2048
    shapes = sorted(network.first.shape[2] for network in networks if hasattr(network, 'first'))
    # At 32 x 32, 16 x 16 (by channel, by checkerboard), 8 x 8 (likewise).
    assert shapes == [1] * 3 + [2] * 3 + [4] * 7 + [8] * 3


@pytest.mark.slow
def test_real_nvp_recomputes_equal_gradients(make_flow):
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
    # Second derivatives are an error, so gradients are recomputed.
    with pytest.raises(NotImplementedError, match='recompute_grad'), tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            squares = tf.reduce_sum(tf.square(again.inverse_and_log_det(images, poses)[0]))
        outer.gradient(tf.reduce_sum(tf.square(inner.gradient(squares, images))), images)


def test_real_nvp_takes_images_and_poses_of_the_paper():
    flow = ConditionalRealNVP((64, 64, 1), 80, 'real_nvp')
    assert flow.forward_event_shape([4096]) == [64, 64, 1]
    assert len(couplings(flow)) == 22
