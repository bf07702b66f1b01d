"""One small bijector of every kind, and flows with random weights."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfp_bruno.bijectors import (
    ActNorm,
    AffineCoupling,
    ConditionalAffine,
    ConditionalChain,
    ConditionalRealNVP,
    ConditionalVolumeAffine,
    CosineTransform,
    FactorOut,
    FixedRotation,
    GlowSettings,
    ImageLogit,
    InvertibleConvolution,
    MaskedAffineCoupling,
    RealNVPSettings,
    Squeeze,
    alternating_mask,
    checkerboard_mask,
)
from tfp_bruno.networks import (
    ConvolutionalConditioner,
    DenseConditioner,
    FourierPoseEncoder,
    PlacePoseEncoder,
    PlaneGrid,
    WeightNormConvolutionalConditioner,
    WeightNormDenseConditioner,
)

DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'extending.md'
CONDITION_SIZE = 3
SETTINGS = GlowSettings(
    first_squeeze=2, couplings=(2, 1), filters=(8, 8), dense_couplings=1, dense_units=16, pose_units=8
)
REAL_NVP = RealNVPSettings(scales=2, filters=6, num_blocks=1, dense_couplings=2, dense_units=8, pose_units=5, alpha=0.2)
MATRIX = np.random.default_rng(5).normal(size=(4, 4))


def randomise(bijector, seed=0, scale=0.05):
    """Adds noise to every weight: the last layers start at zero, where a coupling is the identity."""
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


def _masked(dtype, dense=False):
    if dense:
        mask = alternating_mask((2, 2, 2), 1)
        conditioner = WeightNormDenseConditioner(8, CONDITION_SIZE, dtype=dtype)
    else:
        mask = checkerboard_mask((4, 2, 1))
        conditioner = WeightNormConvolutionalConditioner(6, 1, CONDITION_SIZE, dtype=dtype)
    conditioner.build([None, *mask.shape])
    return MaskedAffineCoupling(mask, conditioner, CONDITION_SIZE, dtype=dtype)


def _flow_of_positions(dtype):
    return ConditionalRealNVP(
        (4, 4, 1), CONDITION_SIZE, SETTINGS, lambda: FourierPoseEncoder(5, 2, dtype=dtype), dtype=dtype
    )


def _flow_of_places(dtype):
    grid = PlaneGrid(CONDITION_SIZE, (4, 4))
    return ConditionalRealNVP(
        (4, 4, 1),
        CONDITION_SIZE,
        SETTINGS,
        lambda: PlacePoseEncoder(5, grid, CONDITION_SIZE, dtype=dtype),
        latents='pixels',
        dtype=dtype,
    )


def _chain(dtype):
    return ConditionalChain([InvertibleConvolution((2, 2, 4), MATRIX, dtype=dtype), _coupling(dtype)], CONDITION_SIZE)


MAKERS = {
    'cosine_transform': lambda dtype: CosineTransform((4, 2, 2), dtype=dtype),
    'squeeze': lambda dtype: Squeeze((4, 2, 2), dtype=dtype),
    'image_logit': lambda dtype: ImageLogit((2, 3, 2), 0.2, dtype=dtype),
    'invertible_convolution': lambda dtype: InvertibleConvolution((2, 3, 4), MATRIX, dtype=dtype),
    'conditional_affine': lambda dtype: ConditionalAffine((2, 3, 2), CONDITION_SIZE, dtype=dtype),
    'conditional_volume_affine': lambda dtype: ConditionalVolumeAffine(
        (2, 3, 2), PlaneGrid(CONDITION_SIZE, (2, 3)), 2, dtype=dtype
    ),
    'fixed_rotation': lambda dtype: FixedRotation((2, 3, 4), np.linalg.qr(MATRIX)[0], dtype=dtype),
    'convolutional_coupling': _coupling,
    'swapped_coupling': lambda dtype: _coupling(dtype, swap=True),
    'dense_coupling': lambda dtype: _coupling(dtype, dense=True),
    'conditional_chain': _chain,
    'actnorm': lambda dtype: ActNorm((2, 3, 4), dtype=dtype),
    'masked_coupling': _masked,
    'masked_dense_coupling': lambda dtype: _masked(dtype, dense=True),
    'factor_out': lambda dtype: FactorOut(
        (4, 4, 2), ConditionalChain([Squeeze((4, 4, 1), dtype=dtype), _chain(dtype)], CONDITION_SIZE), CONDITION_SIZE
    ),
    'real_nvp_flow': lambda dtype: ConditionalRealNVP((4, 4, 1), CONDITION_SIZE, REAL_NVP, dtype=dtype),
    'flow_of_positions': _flow_of_positions,
    'flow_of_places': _flow_of_places,
    'conditional_real_nvp': lambda dtype: ConditionalRealNVP((4, 4, 1), CONDITION_SIZE, SETTINGS, dtype=dtype),
}


def _power(dtype):
    """The user-defined bijector of `docs/extending.md`, float32."""
    del dtype
    defined = {}
    exec(re.findall(r'```python\n(.*?)```', DOCS.read_text(encoding='utf-8'), re.DOTALL)[1], defined)
    return defined['ConditionalPower']((2, 2, 1), CONDITION_SIZE)


ALL = {**MAKERS, 'conditional_power': _power}


@pytest.fixture(scope='session')
def all_makers():
    """Functions from dtype to a bijector, one for every kind, including a user-defined one."""
    return ALL


@pytest.fixture(params=ALL)
def make_any(request):
    """A function from dtype to a bijector, also user-defined; the test runs once per kind."""

    def make(dtype):
        tf_keras.utils.set_random_seed(0)
        return randomise(ALL[request.param](dtype))

    return make


@pytest.fixture(params=MAKERS)
def make_bijector(request):
    """A function from dtype to a bijector; the test runs once per kind."""
    return lambda dtype: randomise(MAKERS[request.param](dtype))


@pytest.fixture
def make_flow():
    """A function that makes a small flow with random weights."""

    def make(seed=0, dtype=tf.float32, image_shape=(8, 8, 1), scale=0.05, **kwargs):
        tf_keras.utils.set_random_seed(seed)
        kwargs = {'settings': SETTINGS, **kwargs}
        return randomise(ConditionalRealNVP(image_shape, CONDITION_SIZE, dtype=dtype, **kwargs), seed, scale)

    return make
