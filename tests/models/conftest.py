"""Small models in float64 with both processes, whose flows are not the identity."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno.bijectors import ConditionalRealNVP, FlowSettings
from tfp_bruno.distributions import ExchangeableStudentTProcess, FactorGaussianProcess
from tfp_bruno.models import ConditionalBruno

SLICES, SIDE, FACTORS = 6, 4, 3
# One scale: the flow's own tests have more.
FLOW = FlowSettings(first_squeeze=2, couplings=(1,), filters=(8,), dense_couplings=1, dense_units=16, pose_units=8)


@pytest.fixture
def flow_settings():
    """`FlowSettings` of a small flow."""
    return FLOW


@pytest.fixture
def randomise():
    """A function that moves every weight of a model: the last layers start at zero."""

    def move(module, scale=0.05):
        rng = np.random.default_rng(0)
        for variable in module.trainable_variables:
            variable.assign_add((scale * rng.normal(size=variable.shape)).astype(variable.dtype.as_numpy_dtype))
        return module

    return move


@pytest.fixture(params=['exchangeable', 'factor'])
def model(request, randomise):
    """A `ConditionalBruno` of 4 slices, once with either process."""
    flow = randomise(ConditionalRealNVP((SIDE, SIDE, 1), SLICES, FLOW, dtype=tf.float64))
    process = _exchangeable() if request.param == 'exchangeable' else _factor()
    return ConditionalBruno(process, flow)


@pytest.fixture
def poses():
    """One-hot poses `[4, 6]` of the model's slices, in no special order."""
    return np.eye(SLICES)[[4, 0, 3, 1]]


def _exchangeable():
    rng = np.random.default_rng(1)
    size = SIDE * SIDE
    return ExchangeableStudentTProcess(
        df=rng.uniform(5.0, 20.0, size),
        loc=rng.normal(size=size),
        variance=rng.uniform(0.5, 1.5, size),
        correlation=rng.uniform(0.1, 0.8, size),
        num_steps=4,
    )


def _factor():
    rng = np.random.default_rng(1)
    size = SIDE * SIDE
    positions = tf.range(SLICES, dtype=tf.float64)[:, tf.newaxis]
    kernel = tfp.math.psd_kernels.FeatureTransformed(
        tfp.math.psd_kernels.MaternOneHalf(length_scale=np.float64(2.0)), lambda poses, *_: poses @ positions
    )
    loadings = 0.5 * rng.normal(size=(SLICES, size, FACTORS))
    return FactorGaussianProcess(loadings, rng.uniform(0.5, 1.5, size), kernel, np.float64(0.7), 4)
