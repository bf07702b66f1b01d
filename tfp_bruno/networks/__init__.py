"""Networks inside the couplings and encoders of poses, as tf_keras layers."""

from tfp_bruno.networks.conditioners import ConvolutionalConditioner, DenseConditioner
from tfp_bruno.networks.layers import FeatureModulation
from tfp_bruno.networks.pose_encoders import (
    DensePoseEncoder,
    FourierPoseEncoder,
    OneHotPoseEncoder,
    VectorPoseEncoder,
    linear_features,
)
from tfp_bruno.networks.weight_norm import WeightNormConvolutionalConditioner, WeightNormDenseConditioner

__all__ = [
    'ConvolutionalConditioner',
    'DenseConditioner',
    'DensePoseEncoder',
    'FeatureModulation',
    'FourierPoseEncoder',
    'OneHotPoseEncoder',
    'VectorPoseEncoder',
    'WeightNormConvolutionalConditioner',
    'WeightNormDenseConditioner',
    'linear_features',
]
