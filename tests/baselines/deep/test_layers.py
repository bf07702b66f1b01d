"""The layers against TensorFlow's own strided convolutions, and the LSTM against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.baselines.deep.layers import ConvolutionalLSTM, PatchConvolution, PatchDeconvolution, SpatialMap

RNG = np.random.default_rng(0)


def noise(*shape):
    return tf.constant(RNG.normal(size=shape), tf.float32)


@pytest.mark.parametrize('size', [2, 4])
def test_patch_convolution_matches_a_strided_convolution(size):
    layer, value = PatchConvolution(3, 5, size), noise(2, 8, 12, 3)
    kernel = tf.reshape(layer.dense.kernel, [size, size, 3, 5])
    expected = tf.nn.conv2d(value, kernel, size, 'VALID')
    np.testing.assert_allclose(layer(value), expected, atol=1e-5)


@pytest.mark.parametrize('size', [2, 4])
def test_patch_deconvolution_matches_a_transposed_convolution(size):
    layer, value = PatchDeconvolution(3, 5, size), noise(2, 4, 3, 3)
    kernel = tf.transpose(tf.reshape(layer.dense.kernel, [3, size, size, 5]), [1, 2, 3, 0])
    expected = tf.nn.conv2d_transpose(value, kernel, [2, 4 * size, 3 * size, 5], size, 'VALID')
    np.testing.assert_allclose(layer(value), expected, atol=1e-5)


def test_spatial_map_matches_a_transposed_convolution_of_one_pixel():
    layer, value = SpatialMap(3, (4, 4), 2), noise(5, 3)
    kernel = tf.transpose(tf.reshape(layer.dense.kernel, [3, 4, 4, 2]), [1, 2, 3, 0])
    expected = tf.nn.conv2d_transpose(value[:, None, None], kernel, [5, 4, 4, 2], 4, 'VALID')
    np.testing.assert_allclose(layer(value), expected, atol=1e-5)


def test_convolutional_lstm_follows_its_formula():
    lstm = ConvolutionalLSTM([2, 3], 4, 5, 3)
    lstm.constant[0].bias.assign(noise(20))
    constant, changing, cell, hidden = (
        (noise(2, 6, 6, size) for size in (2, 3)),
        noise(2, 6, 6, 4),
        *noise(2, 2, 6, 6, 5),
    )
    first, second = constant
    kernel = tf.concat([lstm.constant[0].kernel, lstm.constant[1].kernel, lstm.changing.kernel], 2)
    gates = tf.nn.conv2d(tf.concat([first, second, changing, hidden], -1), kernel, 1, 'SAME') + lstm.constant[0].bias
    forget, remember, output, value = np.split(gates.numpy(), 4, axis=-1)

    def sigmoid(x):
        return 1.0 / (1.0 + np.exp(-x))

    expected = sigmoid(forget) * cell + sigmoid(remember) * np.tanh(value)
    constant_gates = lstm.constant_gates(0, first) + lstm.constant_gates(1, second)
    found, out = lstm(constant_gates, [changing], (cell, hidden))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(out, sigmoid(output) * np.tanh(expected), atol=1e-5)
