"""The convolution against TensorFlow's own, and the modulation against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.networks import FeatureModulation
from tfp_bruno.networks.layers import convolve

RNG = np.random.default_rng(0)


@pytest.mark.parametrize('size', [1, 3, 5])
@pytest.mark.parametrize('image', [(6, 5), (2, 2), (1, 1)])
def test_convolve_has_values_and_gradients_of_conv2d(size, image):
    rng = np.random.default_rng(0)
    value = tf.constant(rng.normal(size=(2, *image, 3)))
    kernel = tf.constant(rng.normal(size=(size, size, 3, 4)))
    upstream = rng.normal(size=(2, *image, 4))
    outs, gradients = [], []
    for function in (convolve, lambda value, kernel: tf.nn.conv2d(value, kernel, 1, 'SAME')):
        with tf.GradientTape() as tape:
            tape.watch([value, kernel])
            out = function(value, kernel)
        outs.append(out)
        gradients.append(tape.gradient(out, [value, kernel], output_gradients=tf.constant(upstream)))
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-12)
    for gradient, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


def test_convolve_has_gradients_in_a_function_of_unknown_batch():
    kernel = tf.Variable(np.random.default_rng(1).normal(size=(3, 3, 2, 2)))

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 2], tf.float64)])
    def gradient(value):
        with tf.GradientTape() as tape:
            out = tf.reduce_sum(convolve(value, kernel) ** 2)
        return tape.gradient(out, kernel)

    value = np.random.default_rng(2).normal(size=(3, 4, 4, 2))
    with tf.GradientTape() as tape:
        out = tf.reduce_sum(tf.nn.conv2d(value, kernel, 1, 'SAME') ** 2)
    np.testing.assert_allclose(gradient(value), tape.gradient(out, kernel), rtol=1e-10)
    np.testing.assert_array_equal(gradient(np.zeros((0, 4, 4, 2))), np.zeros((3, 3, 2, 2)))


@pytest.mark.parametrize('shape', [(2, 4), (2, 3, 5, 4)])
def test_feature_modulation_scales_and_shifts_by_linear_functions(randomised, shape):
    layer = randomised(FeatureModulation(3, dtype='float64'), [None, *shape[1:]])
    hidden, condition = RNG.normal(size=shape), RNG.normal(size=(2, 3))
    features = condition @ layer.kernel.numpy() + layer.bias.numpy()
    gamma, beta = (part.reshape(2, *[1] * (len(shape) - 2), 4) for part in np.split(features, 2, axis=-1))
    np.testing.assert_allclose(layer(hidden, condition), hidden * (1 + gamma) + beta, rtol=1e-12)


def test_feature_modulation_starts_as_the_identity():
    hidden = RNG.normal(size=(2, 4)).astype(np.float32)
    np.testing.assert_array_equal(FeatureModulation(3)(hidden, np.ones((2, 3), np.float32)), hidden)
