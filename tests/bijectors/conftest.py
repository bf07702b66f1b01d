"""One small bijector of every kind, and flows that are not the identity."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import (
    AffineCoupling,
    ConditionalAffine,
    ConditionalChain,
    ConditionalRealNVP,
    FactorOut,
    FlowSettings,
    ImageLogit,
    InvertibleConvolution,
    Squeeze,
)
from tfp_bruno.networks import ConvolutionalConditioner, DenseConditioner

CONDITION_SIZE = 3
SETTINGS = FlowSettings(
    first_squeeze=2, couplings=(2, 1), filters=(8, 8), dense_couplings=1, dense_units=16, pose_units=8
)
MATRIX = np.random.default_rng(5).normal(size=(4, 4))


def randomise(bijector, seed=0, scale=0.05):
    """Moves every weight: the last layers start at zero, where a coupling is the identity."""
    rng = np.random.default_rng(seed)
    for variable in bijector.trainable_variables:
        variable.assign_add((scale * rng.normal(size=variable.shape)).astype(variable.dtype.as_numpy_dtype))
    return bijector


def _coupling(dtype, dense=False, swap=False):
    if dense:
        conditioner = DenseConditioner(8, CONDITION_SIZE, dtype=dtype)
    else:
        conditioner = ConvolutionalConditioner(6, 1, CONDITION_SIZE, map_channels=2, dtype=dtype)
    conditioner.build([None, 2, 2, 2])
    return AffineCoupling((2, 2, 4), conditioner, CONDITION_SIZE, swap, dtype=dtype)


def _chain(dtype):
    return ConditionalChain([InvertibleConvolution((2, 2, 4), MATRIX, dtype=dtype), _coupling(dtype)], CONDITION_SIZE)


MAKERS = {
    'squeeze': lambda dtype: Squeeze((4, 2, 2), dtype=dtype),
    'image_logit': lambda dtype: ImageLogit((2, 3, 2), 0.2, dtype=dtype),
    'invertible_convolution': lambda dtype: InvertibleConvolution((2, 3, 4), MATRIX, dtype=dtype),
    'conditional_affine': lambda dtype: ConditionalAffine((2, 3, 2), CONDITION_SIZE, dtype=dtype),
    'convolutional_coupling': _coupling,
    'swapped_coupling': lambda dtype: _coupling(dtype, swap=True),
    'dense_coupling': lambda dtype: _coupling(dtype, dense=True),
    'conditional_chain': _chain,
    'factor_out': lambda dtype: FactorOut((4, 4, 2), _chain(dtype), CONDITION_SIZE),
    'conditional_real_nvp': lambda dtype: ConditionalRealNVP((4, 4, 1), CONDITION_SIZE, SETTINGS, dtype=dtype),
}


@pytest.fixture(params=MAKERS)
def make_bijector(request):
    """A function from dtype to a bijector; the test runs once per kind."""
    return lambda dtype: randomise(MAKERS[request.param](dtype))


@pytest.fixture
def make_flow():
    """A function that makes a small flow with random weights."""

    def make(seed=0, dtype=tf.float32, image_shape=(8, 8, 1), scale=0.05, **kwargs):
        return randomise(ConditionalRealNVP(image_shape, CONDITION_SIZE, SETTINGS, dtype=dtype, **kwargs), seed, scale)

    return make
