"""Couplings that are evaluated again in the backward pass give the same values and gradients."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings, RealNVPSettings

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(4, 8, 8, 1)).astype(np.float32)
POSES = RNG.normal(size=(4, 3)).astype(np.float32)
GLOW = GlowSettings(first_squeeze=2, couplings=(2, 1), filters=(8, 8), dense_couplings=1, dense_units=16, pose_units=8)
REAL_NVP = RealNVPSettings(scales=2, filters=6, num_blocks=1, dense_couplings=2, dense_units=8, pose_units=5, alpha=0.2)


def make_pair(settings, network_dtype='float32'):
    """A flow that keeps its features and one that recomputes them, with the same random weights."""
    pair = [
        ConditionalRealNVP(
            (8, 8, 1), 3, dataclasses.replace(settings, recompute=recompute), network_dtype=network_dtype
        )
        for recompute in (False, True)
    ]
    rng = np.random.default_rng(1)
    for kept, again in zip(*(flow.variables for flow in pair), strict=True):
        if kept.trainable:
            kept.assign_add((0.1 * rng.normal(size=kept.shape)).astype(kept.dtype.as_numpy_dtype))
        again.assign(kept)
    return pair


def values_and_gradients(flow, images=IMAGES, poses=POSES):
    """Loss through both directions, and its gradients by images, poses and weights."""
    images, poses = tf.convert_to_tensor(images), tf.convert_to_tensor(poses)
    with tf.GradientTape() as tape:
        tape.watch((images, poses))
        latents, log_det = flow.inverse_and_log_det(images, poses)
        decoded, _ = flow.forward_and_log_det(0.5 * latents, poses)
        loss = tf.reduce_mean(tf.square(latents)) - tf.reduce_mean(log_det) + tf.reduce_mean(tf.square(decoded))
    return [loss, *tape.gradient(loss, [images, poses, *flow.trainable_variables])]


@pytest.mark.parametrize('within_function', [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize('settings', [GLOW, REAL_NVP], ids=['glow', 'real_nvp'])
def test_recomputed_gradients_are_equal(settings, within_function):
    kept, again = make_pair(settings)
    call = tf.function(values_and_gradients, autograph=False) if within_function else values_and_gradients
    for expected, actual in zip(call(kept), call(again), strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize('settings', [GLOW, REAL_NVP], ids=['glow', 'real_nvp'])
def test_recomputed_gradients_reach_weights_of_reduced_precision(settings):
    kept, again = make_pair(settings, 'mixed_bfloat16')
    for expected, actual in zip(values_and_gradients(kept), values_and_gradients(again), strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(actual, expected, rtol=0.03, atol=0.01 * np.abs(expected).max())


def test_recompute_has_no_second_derivatives():
    again = make_pair(GLOW)[1]
    images = tf.constant(IMAGES)
    with tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            squares = tf.reduce_sum(tf.square(again.inverse_and_log_det(images, POSES)[0]))
        slope = tf.reduce_sum(tf.square(inner.gradient(squares, images)))
    with pytest.raises(NotImplementedError, match='recompute_grad'):
        outer.gradient(slope, images)
