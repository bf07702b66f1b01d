"""Small models in float64 with each kind of process, whose flows are not the identity."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings
from tfp_bruno.distributions import (
    ExchangeableStudentTProcess,
    FactorGaussianProcess,
    FactorStudentTProcess,
    PoseStudentTProcess,
    slice_kernel,
)
from tfp_bruno.models import ConditionalBruno

SLICES, SIDE, FACTORS = 6, 4, 3
# One scale: the flow's own tests have more.
FLOW = GlowSettings(first_squeeze=2, couplings=(1,), filters=(8,), dense_couplings=1, dense_units=16, pose_units=8)
# The first takes no poses, the last has poses, loadings and a radius; the others repeat parts of it.
KINDS = [
    'exchangeable',
    pytest.param('pose', marks=pytest.mark.slow),
    pytest.param('factor', marks=pytest.mark.slow),
    'factor student-t',
]


@pytest.fixture
def flow_settings():
    """`GlowSettings` of a small flow."""
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


@pytest.fixture(params=KINDS)
def model(request, randomise):
    """A `ConditionalBruno` of 4 slices, once with each kind of process."""
    flow = randomise(ConditionalRealNVP((SIDE, SIDE, 1), SLICES, FLOW, dtype=tf.float64))
    return ConditionalBruno(_process(request.param), flow)


@pytest.fixture
def poses():
    """One-hot poses `[4, 6]` of the model's slices, in no special order."""
    return np.eye(SLICES)[[4, 0, 3, 1]]


def _process(kind):
    rng = np.random.default_rng(1)
    size = SIDE * SIDE
    variance = 'residual_variance' if 'factor' in kind else 'marginal_variance'
    parts = {'loc': rng.normal(size=size), variance: rng.uniform(0.5, 1.5, size), 'num_steps': 4}
    df, correlation = rng.uniform(5.0, 20.0, size), rng.uniform(0.1, 0.8, size)
    if kind == 'exchangeable':
        return ExchangeableStudentTProcess(df=df, correlation=correlation, **parts)
    parts['kernel'] = slice_kernel(np.float64(2.0), SLICES)
    if kind == 'pose':
        return PoseStudentTProcess(df=df, correlation=correlation, constant_share=0.3, **parts)
    parts |= {'loadings': 0.5 * rng.normal(size=(SLICES, size, FACTORS)), 'correlation': np.float64(0.7)}
    return FactorGaussianProcess(**parts) if kind == 'factor' else FactorStudentTProcess(df=np.float64(9.0), **parts)
