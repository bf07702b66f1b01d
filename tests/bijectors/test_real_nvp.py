"""The RealNVP architecture: its size against the official code, and recomputed gradients."""

import numpy as np

from tfp_bruno.bijectors import ConditionalRealNVP, MaskedAffineCoupling, RealNVPSettings
from tfp_bruno.networks import WeightNormConvolutionalConditioner, WeightNormDenseConditioner

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 8, 8, 1)).astype(np.float32)
SMALL_REAL_NVP = RealNVPSettings(
    scales=2, filters=6, num_blocks=1, dense_couplings=2, dense_units=8, pose_units=5, alpha=0.2
)


def couplings(flow):
    return [part for part in flow.submodules if isinstance(part, MaskedAffineCoupling)]


def test_real_nvp_has_the_parameters_of_the_official_code():
    flow = ConditionalRealNVP((32, 32, 1), 2, 'real_nvp')
    networks = [coupling._conditioner for coupling in couplings(flow)]
    assert sum(isinstance(network, WeightNormConvolutionalConditioner) for network in networks) == 16
    assert sum(isinstance(network, WeightNormDenseConditioner) for network in networks) == 6
    # With variance and correlation of its process, 2 x 1024, the official code counts 15,460,314.
    assert sum(variable.shape.num_elements() for variable in flow.trainable_variables) == 15_460_314 - 2048
    shapes = sorted(network.first.shape[2] for network in networks if hasattr(network, 'first'))
    # At 32 x 32, 16 x 16 (by channel, by checkerboard), 8 x 8 (likewise).
    assert shapes == [1] * 3 + [2] * 3 + [4] * 7 + [8] * 3


def test_real_nvp_takes_images_and_poses_of_the_paper():
    flow = ConditionalRealNVP((64, 64, 1), 80, 'real_nvp')
    assert flow.forward_event_shape([4096]) == [64, 64, 1]
    assert len(couplings(flow)) == 22
