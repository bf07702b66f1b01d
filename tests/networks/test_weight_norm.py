"""The networks of the official code against NumPy, and their data-dependent initialisation."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.networks import WeightNormConvolutionalConditioner, WeightNormDenseConditioner

RNG = np.random.default_rng(0)
X, CONDITION = RNG.normal(size=(5, 4, 6, 2)), RNG.normal(size=(5, 3))


def elu(value):
    return np.where(value > 0, value, np.expm1(value))


def leaky(value):
    return np.where(value > 0, value, np.float32(0.2) * value)


def unit(weights):
    return weights / np.sqrt((weights**2).sum(tuple(range(weights.ndim - 1)), keepdims=True))


def convolve(value, kernel):
    return tf.nn.conv2d(value, kernel, 1, 'SAME').numpy()


def convolutional_outputs(network):
    """The two outputs, and the output of every layer before its nonlinearity."""
    value = {variable.name.split('/')[-1].split(':')[0]: variable.numpy() for variable in network.variables}
    pose = CONDITION @ unit(value['pose']) * value['pose_gain'] + value['pose_shift']
    pose = pose.reshape(5, *value['gain'].shape).swapaxes(0, 1)[:, :, None, None]
    kernels = [value['first'], *value['trunk']]
    layers = []

    def layer(index, hidden):
        gain, bias = value['gain'][index], value['bias'][index]
        layers.append(convolve(hidden, unit(kernels[index])) * gain + bias)
        return layers[-1] + pose[index]

    hidden = elu(layer(0, X))
    for index in range(1, len(kernels), 2):
        hidden = elu(layer(index + 1, elu(layer(index, hidden))) + hidden)
    out = convolve(hidden, value['last']) + value['last_bias']
    out += (CONDITION @ value['last_pose'])[:, None, None]
    return out[..., :2], out[..., 2:], [*layers, pose]


@pytest.mark.parametrize('num_blocks', [0, 2])
def test_convolutional_conditioner_matches_numpy(randomised, num_blocks):
    network = randomised(WeightNormConvolutionalConditioner(4, num_blocks, 3, dtype='float64'), X.shape)
    shift, log_scale = network(X, CONDITION)
    expected_shift, expected_log_scale, _ = convolutional_outputs(network)
    np.testing.assert_allclose(shift, expected_shift, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_scale, expected_log_scale, rtol=1e-9, atol=1e-12)


def test_initialize_convolutional_conditioner_normalises_features(randomised):
    network = randomised(WeightNormConvolutionalConditioner(4, 2, 3, dtype='float64'), X.shape)
    outputs = network.initialize(X, CONDITION)
    *expected, layers = convolutional_outputs(network)
    for out, value in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-8, atol=1e-10)
    for features in layers[:-1]:
        np.testing.assert_allclose(features.mean((0, 1, 2)), 0.0, atol=1e-9)
        np.testing.assert_allclose(features.std((0, 1, 2)), 1.0, rtol=1e-7)
    # The same for the projections of the condition, over the batch.
    np.testing.assert_allclose(layers[-1].mean(1), 0.0, atol=1e-9)
    np.testing.assert_allclose(layers[-1].std(1), 1.0, rtol=1e-7)


def dense_outputs(network):
    """The two outputs, and the output of every layer before its nonlinearity."""
    hidden, layers = X.reshape(5, -1), []

    def layer(value, weights):
        direction, gain, bias = (variable.numpy() for variable in weights)
        layers.append(value @ unit(direction) * gain + bias)
        return layers[-1]

    for pose, weights in zip(network.poses, network.hiddens, strict=True):
        hidden = elu(layer(np.concatenate([leaky(layer(CONDITION, pose)), hidden], -1), weights))
    embedded = leaky(CONDITION @ network.last_pose.numpy() + network.last_pose_bias.numpy())
    outputs, parts = [], np.split(embedded, 2, -1)
    for part, kernel, bias in zip(parts, network.last.numpy(), network.last_bias.numpy(), strict=True):
        outputs.append((np.concatenate([part, hidden], -1) @ kernel + bias).reshape(X.shape))
    return outputs[1], outputs[0], layers


@pytest.mark.parametrize('starts', [False, True])
def test_dense_conditioner_and_its_initialize_match_numpy(randomised, starts):
    network = randomised(WeightNormDenseConditioner(6, 3, dtype='float64'), X.shape)
    outputs = network.initialize(X, CONDITION) if starts else network(X, CONDITION)
    *expected, layers = dense_outputs(network)
    for out, value in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-8, atol=1e-10)
    for features in layers if starts else []:
        np.testing.assert_allclose(features.mean(0), 0.0, atol=1e-9)
        np.testing.assert_allclose(features.std(0), 1.0, rtol=1e-7)


@pytest.mark.parametrize(
    'make', [lambda: WeightNormConvolutionalConditioner(4, 1, 3), lambda: WeightNormDenseConditioner(6, 3)]
)
def test_initialize_runs_once_and_outputs_start_at_zero(make):
    network = make()
    x, condition = tf.cast(X, tf.float32), tf.cast(CONDITION, tf.float32)
    for part in network.initialize(x, condition):
        np.testing.assert_array_equal(part, np.zeros_like(X))
    before = [variable.numpy() for variable in network.variables]
    network.initialize(3 * x + 1, condition)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    network.initialize(3 * x + 1, condition, overwrite=True)
    assert any(np.any(variable != value) for variable, value in zip(network.variables, before, strict=True))
