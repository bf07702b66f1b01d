"""Networks that condition the couplings, as tf_keras layers."""

from tfp_bruno.networks.convolutional_conditioner import ConvolutionalConditioner
from tfp_bruno.networks.dense_conditioner import DenseConditioner
from tfp_bruno.networks.film import FeatureModulation
from tfp_bruno.networks.pose_encoder import PoseEncoder

__all__ = ['ConvolutionalConditioner', 'DenseConditioner', 'FeatureModulation', 'PoseEncoder']
