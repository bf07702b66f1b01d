"""Conditional bijectors of images, and the flows made of them."""

from tfp_bruno.bijectors.actnorm import ActNorm
from tfp_bruno.bijectors.bound_condition import BoundCondition
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_affine import ConditionalAffine
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.conditional_real_nvp import ARCHITECTURES, ConditionalRealNVP
from tfp_bruno.bijectors.cosine_transform import CosineTransform
from tfp_bruno.bijectors.coupling import (
    AffineCoupling,
    MaskedAffineCoupling,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
)
from tfp_bruno.bijectors.glow import GlowSettings
from tfp_bruno.bijectors.invertible_convolution import InvertibleConvolution
from tfp_bruno.bijectors.logit import ImageLogit
from tfp_bruno.bijectors.multi_scale import FactorOut, Squeeze
from tfp_bruno.bijectors.pixel_order import FixedRotation
from tfp_bruno.bijectors.real_nvp import RealNVPSettings
from tfp_bruno.bijectors.volume_affine import ConditionalVolumeAffine

__all__ = [
    'ARCHITECTURES',
    'ActNorm',
    'AffineCoupling',
    'BoundCondition',
    'ConditionalAffine',
    'ConditionalBijector',
    'ConditionalChain',
    'ConditionalRealNVP',
    'ConditionalVolumeAffine',
    'CosineTransform',
    'FactorOut',
    'FixedRotation',
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
