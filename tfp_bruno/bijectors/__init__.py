"""Bijectors of images that depend on a condition."""

from tfp_bruno.bijectors.actnorm import ActNorm
from tfp_bruno.bijectors.bound_condition import BoundCondition
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_affine import ConditionalAffine
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.conditional_real_nvp import ARCHITECTURES, ConditionalRealNVP
from tfp_bruno.bijectors.coupling import AffineCoupling
from tfp_bruno.bijectors.factor_out import FactorOut
from tfp_bruno.bijectors.glow import GlowSettings
from tfp_bruno.bijectors.invertible_convolution import InvertibleConvolution
from tfp_bruno.bijectors.logit import ImageLogit
from tfp_bruno.bijectors.masked_coupling import (
    MaskedAffineCoupling,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
)
from tfp_bruno.bijectors.real_nvp import RealNVPSettings
from tfp_bruno.bijectors.squeeze import Squeeze

__all__ = [
    'ARCHITECTURES',
    'ActNorm',
    'AffineCoupling',
    'BoundCondition',
    'ConditionalAffine',
    'ConditionalBijector',
    'ConditionalChain',
    'ConditionalRealNVP',
    'FactorOut',
    'GlowSettings',
    'ImageLogit',
    'InvertibleConvolution',
    'MaskedAffineCoupling',
    'RealNVPSettings',
    'Squeeze',
    'alternating_mask',
    'channel_mask',
    'checkerboard_mask',
]
