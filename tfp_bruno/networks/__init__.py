"""Networks that condition the couplings, as tf_keras layers."""

from tfp_bruno.networks.convolutional_conditioner import ConvolutionalConditioner
from tfp_bruno.networks.dense_conditioner import DenseConditioner
from tfp_bruno.networks.film import FeatureModulation
from tfp_bruno.networks.pose_encoder import (
    DensePoseEncoder,
    FourierPoseEncoder,
    OneHotPoseEncoder,
    VectorPoseEncoder,
    linear_features,
)
from tfp_bruno.networks.weight_norm_convolutional import WeightNormConvolutionalConditioner
from tfp_bruno.networks.weight_norm_dense import WeightNormDenseConditioner

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
