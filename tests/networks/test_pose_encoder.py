"""The encoder of poses against NumPy."""

import numpy as np

from tfp_bruno.networks import PoseEncoder


def elu(value):
    return np.where(value > 0, value, np.expm1(value))


def test_values(randomised):
    encoder = randomised(PoseEncoder(5, dtype='float64'), [None, 3])
    pose = np.random.default_rng(0).normal(size=(4, 3))
    hidden = elu(pose @ encoder.kernel_in.numpy())
    expected = elu(hidden @ encoder.kernel_out.numpy() + encoder.bias.numpy())
    np.testing.assert_allclose(encoder(pose), expected, rtol=1e-12)


def test_poses_are_told_apart_from_the_start():
    features = PoseEncoder(8)(np.eye(6, dtype=np.float32)).numpy()
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    assert distances[~np.eye(6, dtype=bool)].min() > 0.05
