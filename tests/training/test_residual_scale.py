"""The variance of a residual is fitted where the loss is least, once for the same weights."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno.distributions import FactorGaussianProcess
from tfp_bruno.runs.weights import newest_weights, write_weights
from tfp_bruno.training.residual_scale import fit_residual_scale, scale_residual


def make_process(variance):
    return FactorGaussianProcess(
        loc=tf.zeros(3),
        loadings=tf.zeros([4, 3, 1]),
        residual_variance=tf.Variable(variance, dtype=tf.float32),
        correlation=0.0,
        kernel=tfp.math.psd_kernels.MaternOneHalf(length_scale=tf.constant(1.0)),
        num_steps=4,
    )


@pytest.mark.parametrize('scale', [0.5, 1.0, 2.3])
def test_scale_is_that_of_the_largest_likelihood(scale):
    rng = np.random.default_rng(0)
    true = np.array([0.5, 1.0, 3.0])
    values = (np.sqrt(scale * true) * rng.normal(size=(2000, 4, 3))).astype(np.float32)
    process, poses = make_process(true), tf.eye(4)
    found = fit_residual_scale(process, lambda: -float(tf.reduce_mean(process.at(poses).log_prob(values))))
    # The estimate in closed form.
    assert found == pytest.approx(np.mean(values**2 / true), rel=0.02)
    np.testing.assert_allclose(process.residual_variance, found * true, rtol=1e-5)


def test_scale_is_bounded():
    process = make_process([1.0, 1.0, 1.0])
    found = fit_residual_scale(process, lambda: float(tf.reduce_sum(process.residual_variance)))
    assert math.exp(-1) <= found < 0.45


@dataclasses.dataclass
class Folder:
    """The files of a run that are read and written here."""

    folder: pathlib.Path

    @property
    def weights(self):
        return newest_weights(self.folder / 'weights')

    @property
    def residual_scale(self):
        return self.folder / 'residual_scale.json'


def test_weights_are_fitted_once(tmp_path, caplog):
    run = Folder(tmp_path / 'run')
    process = make_process([1.0, 2.0, 3.0])
    variables = [process.residual_variance]
    write_weights(run.folder / 'weights', variables)
    process.residual_variance.assign([9.0, 9.0, 9.0])  # Weights of the training that are not handed on.

    def loss():
        logs = tf.math.log(process.residual_variance) - np.log([1.0, 2.0, 3.0]) - np.log(1.5)
        return float(tf.reduce_sum(tf.square(logs)))

    def fit():
        scale_residual(run, process, variables, loss)
        read = tf.Variable(tf.zeros(3))
        tf.train.Checkpoint(variables=[read]).read(str(run.weights)).assert_consumed()
        np.testing.assert_array_equal(read, process.residual_variance)
        return read.numpy()

    with caplog.at_level('INFO', logger='absl'):
        fitted = fit()
    assert '1.50 times' in caplog.text
    np.testing.assert_allclose(fitted, 1.5 * np.array([1.0, 2.0, 3.0]), rtol=0.02)
    assert json.loads(run.residual_scale.read_text())['scale'] == pytest.approx(1.5, rel=0.02)
    weights = run.weights
    fit()
    assert run.weights == weights
    # A file that is damaged is no obstacle.
    run.residual_scale.write_text('[')
    np.testing.assert_allclose(fit(), fitted, rtol=0.05)
    assert run.weights != weights
