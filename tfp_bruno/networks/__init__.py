"""Networks inside the couplings and encoders of poses, as tf_keras layers."""

from tfp_bruno.networks.conditioners import ConvolutionalConditioner, DenseConditioner
from tfp_bruno.networks.grids import (
    AffineGrid,
    DisplacedGrid,
    Grid,
    Landmarks,
    PlaneGrid,
    interpolate_volume,
    sample_volume,
)
from tfp_bruno.networks.layers import FeatureModulation
from tfp_bruno.networks.pose_encoders import (
    DensePoseEncoder,
    FourierPoseEncoder,
    OneHotPoseEncoder,
    PlacePoseEncoder,
    VectorPoseEncoder,
    linear_features,
)
from tfp_bruno.networks.pose_vectors import affine_pose, displaced_pose, plane_matrix
from tfp_bruno.networks.weight_norm import WeightNormConvolutionalConditioner, WeightNormDenseConditioner

__all__ = [
    'AffineGrid',
    'ConvolutionalConditioner',
    'DenseConditioner',
    'DensePoseEncoder',
    'DisplacedGrid',
    'FeatureModulation',
    'FourierPoseEncoder',
    'Grid',
    'Landmarks',
    'OneHotPoseEncoder',
    'PlacePoseEncoder',
    'PlaneGrid',
    'VectorPoseEncoder',
    'WeightNormConvolutionalConditioner',
    'WeightNormDenseConditioner',
    'affine_pose',
    'displaced_pose',
    'interpolate_volume',
    'linear_features',
    'plane_matrix',
    'sample_volume',
]
