"""The conditioners against the same networks written with TensorFlow's convolution and with NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.networks import ConvolutionalConditioner, DenseConditioner

RNG = np.random.default_rng(0)


def modulate(layer, hidden, condition):
    gamma, beta = np.split(condition @ layer.kernel.numpy() + layer.bias.numpy(), 2, axis=-1)
    return hidden * (1 + gamma[:, None, None]) + beta[:, None, None]


@pytest.mark.parametrize('num_blocks', [0, 2])
def test_convolutional_conditioner_matches_tensorflow(randomised, num_blocks):
    network = randomised(ConvolutionalConditioner(6, num_blocks, 3, map_channels=2, dtype='float64'), [None, 4, 5, 2])
    assert len(network.kernels) == 2 + 2 * num_blocks
    x, condition = RNG.normal(size=(3, 4, 5, 2)), RNG.normal(size=(3, 3))

    def convolve(value, index):
        return tf.nn.conv2d(value, network.kernels[index], 1, 'SAME') + network.biases[index]

    maps = (condition @ network.map_kernel.numpy()).reshape(3, 4, 5, 2)
    hidden = modulate(network.modulations[0], convolve(np.concatenate([x, maps], -1), 0), condition)
    for block in range(num_blocks):
        inner = modulate(network.modulations[block + 1], convolve(tf.nn.elu(hidden), 2 * block + 1), condition)
        hidden = hidden + convolve(tf.nn.elu(inner), 2 * block + 2)
    out = convolve(tf.nn.elu(hidden), len(network.kernels) - 1).numpy()
    shift, log_scale = network(x, condition)
    np.testing.assert_allclose(shift, out[..., :2], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_scale, out[..., 2:], rtol=1e-9, atol=1e-12)


def test_convolutional_conditioner_starts_at_zero_with_gradients():
    network = ConvolutionalConditioner(6, 1, 3)
    x = RNG.normal(size=(2, 4, 4, 2)).astype(np.float32)
    with tf.GradientTape() as tape:
        shift, log_scale = network(x, tf.ones([2, 3]))
        loss = tf.reduce_sum(shift + 2 * log_scale)
    np.testing.assert_array_equal(shift, np.zeros_like(x))
    np.testing.assert_array_equal(log_scale, np.zeros_like(x))
    assert np.any(tape.gradient(loss, network.kernels[-1]) != 0)


def test_dense_conditioner_matches_numpy(randomised):
    network = randomised(DenseConditioner(5, 3, dtype='float64'), [None, 2, 2, 3])
    x, condition = RNG.normal(size=(4, 2, 2, 3)), RNG.normal(size=(4, 3))
    features = condition @ network.modulation.kernel.numpy() + network.modulation.bias.numpy()
    gamma, beta = np.split(features, 2, axis=-1)
    hidden = (x.reshape(4, 12) @ network.kernel_in.numpy() + network.bias_in.numpy()) * (1 + gamma) + beta
    hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
    out = hidden @ network.kernel_out.numpy() + condition @ network.kernel_condition.numpy()
    shift, log_scale = network(x, condition)
    np.testing.assert_allclose(shift, out[:, :12].reshape(x.shape), rtol=1e-10)
    np.testing.assert_allclose(log_scale, out[:, 12:].reshape(x.shape), rtol=1e-10)


def test_dense_conditioner_starts_at_zero():
    x = RNG.normal(size=(2, 6)).astype(np.float32)
    for part in DenseConditioner(4, 3)(x, tf.ones([2, 3])):
        np.testing.assert_array_equal(part, np.zeros((2, 6)))
