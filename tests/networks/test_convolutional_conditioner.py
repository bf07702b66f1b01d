"""The convolutional network against the same network written with TensorFlow's convolution."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.networks import ConvolutionalConditioner

RNG = np.random.default_rng(0)


def modulate(layer, hidden, condition):
    gamma, beta = np.split(condition @ layer.kernel.numpy() + layer.bias.numpy(), 2, axis=-1)
    return hidden * (1 + gamma[:, None, None]) + beta[:, None, None]


@pytest.mark.parametrize('num_blocks', [0, 2])
def test_values(randomised, num_blocks):
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


def test_it_starts_at_zero_but_learns_from_the_first_step():
    network = ConvolutionalConditioner(6, 1, 3)
    x = RNG.normal(size=(2, 4, 4, 2)).astype(np.float32)
    with tf.GradientTape() as tape:
        shift, log_scale = network(x, tf.ones([2, 3]))
        loss = tf.reduce_sum(shift + 2 * log_scale)
    np.testing.assert_array_equal(shift, np.zeros_like(x))
    np.testing.assert_array_equal(log_scale, np.zeros_like(x))
    assert np.any(tape.gradient(loss, network.kernels[-1]) != 0)
