"""The dense network against NumPy."""

import numpy as np
import tensorflow as tf

from tfp_bruno.networks import DenseConditioner

RNG = np.random.default_rng(0)


def test_values(randomised):
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


def test_it_starts_at_zero():
    x = RNG.normal(size=(2, 6)).astype(np.float32)
    for part in DenseConditioner(4, 3)(x, tf.ones([2, 3])):
        np.testing.assert_array_equal(part, np.zeros((2, 6)))
