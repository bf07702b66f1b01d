"""The encoders of poses against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfp_bruno.networks import (
    AffineGrid,
    DensePoseEncoder,
    FourierPoseEncoder,
    OneHotPoseEncoder,
    PlacePoseEncoder,
    PlaneGrid,
    VectorPoseEncoder,
    affine_pose,
    linear_features,
    plane_matrix,
)


def elu(value):
    return np.where(value > 0, value, np.expm1(value))


def one_hot(pose):
    return pose


def vector(pose):
    return np.concatenate([np.ones((len(pose), 1)), pose], -1)


def waves(pose):
    phases = np.concatenate([np.pi * pose, 2 * np.pi * pose, 4 * np.pi * pose], -1)
    return np.concatenate([np.ones((len(pose), 1)), np.sin(phases), np.cos(phases)], -1)


@pytest.mark.parametrize(
    ('make', 'expected_features'),
    [
        (lambda: OneHotPoseEncoder(5, dtype='float64'), one_hot),
        (lambda: VectorPoseEncoder(5, dtype='float64'), vector),
        (lambda: FourierPoseEncoder(5, 3, dtype='float64'), waves),
    ],
)
def test_two_layer_encoders_match_numpy(randomised, make, expected_features):
    encoder = randomised(make(), [None, 3])
    pose = np.random.default_rng(0).normal(size=(4, 3))
    features = expected_features(pose)
    np.testing.assert_allclose(linear_features(encoder, pose), features, atol=1e-12)
    hidden = elu(features @ encoder.kernel_in.numpy())
    expected = elu(hidden @ encoder.kernel_out.numpy() + encoder.bias.numpy())
    np.testing.assert_allclose(encoder(pose), expected, rtol=1e-12)


def test_one_hot_encoder_with_a_width_matches_numpy(randomised):
    encoder = randomised(OneHotPoseEncoder(5, width=1.5, dtype='float64'), [None, 7])
    distances = np.subtract.outer(np.arange(7), np.arange(7))
    weights = stats.norm(scale=1.5).pdf(distances)
    weights /= np.sqrt(np.sum(weights**2, axis=1, keepdims=True))
    hidden = elu(weights @ encoder.kernel_in.numpy())
    expected = elu(hidden @ encoder.kernel_out.numpy() + encoder.bias.numpy())
    np.testing.assert_allclose(encoder(np.eye(7)), expected, rtol=1e-12)
    # The affine map of a flow keeps one table per slice.
    np.testing.assert_array_equal(linear_features(encoder, np.eye(7)), np.eye(7))


def test_one_hot_encoder_with_a_width_starts_smooth():
    features = OneHotPoseEncoder(64, width=3.0)(np.eye(40, dtype=np.float32)).numpy()
    near = np.linalg.norm(features[1:] - features[:-1], axis=-1)
    far = np.linalg.norm(features[20:] - features[:-20], axis=-1)
    assert near.max() < 0.6 * far.min()


def test_one_hot_encoder_starts_with_distinct_features():
    features = OneHotPoseEncoder(8)(np.eye(6, dtype=np.float32)).numpy()
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    assert distances[~np.eye(6, dtype=bool)].min() > 0.05


def test_dense_encoder_matches_numpy(randomised):
    encoder = randomised(DensePoseEncoder(5, dtype='float64'), [None, 3])
    pose = np.random.default_rng(0).normal(size=(4, 3))
    out = pose @ encoder.kernel.numpy() + encoder.bias.numpy()
    np.testing.assert_allclose(encoder(pose), np.where(out > 0, out, 0.2 * out), rtol=1e-6)
    # Without `features`, a constant and the pose are the linear features.
    np.testing.assert_array_equal(linear_features(encoder, tf.constant(pose)), vector(pose))


def test_fourier_encoder_is_smooth_in_position():
    positions = np.linspace(0, 1, 21, dtype=np.float32)[:, np.newaxis]
    features = FourierPoseEncoder(8, 3)(positions).numpy()
    near = np.linalg.norm(features[1:] - features[:-1], axis=-1).mean()
    far = np.linalg.norm(features[10:] - features[:-10], axis=-1).mean()
    assert near < 0.5 * far


def test_place_encoder_is_the_one_hot_encoder_at_planes(randomised):
    grid = PlaneGrid(5, (4, 6))
    one_hot = randomised(OneHotPoseEncoder(3, width=1.5, dtype='float64'), [None, 5])
    place = randomised(PlacePoseEncoder(3, grid, 5, width=1.5, dtype='float64'), [None, 5])
    np.testing.assert_allclose(place(np.eye(5)), one_hot(np.eye(5)), rtol=1e-12)
    np.testing.assert_array_equal(place.features(tf.eye(5)), np.eye(5))


def test_features_of_a_place_are_interpolation_weights_of_planes():
    encoder = PlacePoseEncoder(3, AffineGrid((4, 6)), 5, dtype='float64')
    matrices = np.stack([plane_matrix(position, (4, 6)) for position in (1.25, -2.0, 7.0, 2.0)])
    # Corners at the depths 0.5 and 3.5, the centre at 2.
    matrices[3, 0, 0] = 1.0
    features = encoder.features(tf.constant(affine_pose(matrices), tf.float64))
    expected = [
        [0, 0.75, 0.25, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0.2, 0.2, 0.2, 0.2, 0.2],
    ]
    np.testing.assert_allclose(features, expected, atol=1e-6)
