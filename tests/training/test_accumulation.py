"""Gradients part by part against those of the whole batch."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.training.accumulation import accumulated_gradients


@pytest.mark.parametrize('micro_batches', [1, 2, 3, 6])
@pytest.mark.parametrize('in_function', [False, True])
def test_parts_add_up_to_the_whole(micro_batches, in_function):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    weights, bias, idle = tf.Variable(rng.normal(size=(3, 2))), tf.Variable(rng.normal(size=2)), tf.Variable(1.0)

    def loss(x, y):
        squares = (x @ weights + bias + 0.0 * tf.cast(idle, tf.float64) - y) ** 2
        return tf.reduce_mean(squares), {'size': tf.cast(tf.shape(x)[0], tf.float64)}

    def compute(x, y):
        return accumulated_gradients(loss, [weights, bias, idle], (x, y), micro_batches)

    parts, gradients = (tf.function(compute) if in_function else compute)(tf.constant(x), tf.constant(y))
    errors = x @ weights.numpy() + bias.numpy() - y
    np.testing.assert_allclose(parts['loss'], np.mean(errors**2), rtol=1e-12)
    np.testing.assert_allclose(parts['size'], 6 / micro_batches)
    np.testing.assert_allclose(gradients[0], 2 * x.T @ errors / errors.size, rtol=1e-10)
    np.testing.assert_allclose(gradients[1], 2 * errors.sum(0) / errors.size, rtol=1e-10)
    assert gradients[2] == 0.0


def test_the_traces_do_not_grow_with_the_parts():
    variable = tf.Variable(2.0)
    traces = []

    def loss(x):
        traces.append(1)
        return tf.reduce_mean(variable * x), {}

    @tf.function
    def compute(x):
        return accumulated_gradients(loss, [variable], (x,), 4)

    _, (gradient,) = compute(tf.range(8.0))
    np.testing.assert_allclose(gradient, 3.5)
    assert len(traces) == 1
