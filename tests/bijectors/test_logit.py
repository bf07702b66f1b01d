"""The logit against SciPy."""

import hypothesis
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
import tf_keras
from hypothesis import strategies
from tensorflow_probability import distributions as tfd

from tfp_bruno.bijectors import BoundCondition, ImageLogit


@pytest.fixture
def saturating_flow(make_flow):
    """A small float32 flow and the values its weights start from."""
    tf_keras.utils.set_random_seed(0)
    flow = make_flow(scale=0.0)
    return flow, [variable.numpy() for variable in flow.trainable_variables]


def test_logit_matches_scipy():
    image = np.random.default_rng(0).uniform(size=(5, 2, 3, 1))
    bijector = ImageLogit((2, 3, 1), alpha=0.2, dtype=tf.float64)
    p = 0.8 * image + 0.1
    np.testing.assert_allclose(bijector.inverse(image), scipy.special.logit(p), rtol=1e-12)
    expected = np.sum(np.log(0.8 / (p * (1 - p))), axis=(1, 2, 3))
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(image), expected, rtol=1e-12)


def test_logit_of_black_and_white_is_finite():
    x, log_det = ImageLogit((1, 2, 1), alpha=0.01).inverse_and_log_det(tf.constant([[[0.0], [1.0]]]))
    np.testing.assert_allclose(x[0, :, 0], scipy.special.logit([0.005, 0.995]), rtol=1e-5)
    assert np.isfinite(log_det)


@pytest.mark.parametrize('alpha', [0.0, 1.0, -0.1])
def test_alpha_outside_its_range_is_an_error(alpha):
    with pytest.raises(ValueError, match='`alpha` must be in'):
        ImageLogit((1, 1, 1), alpha)


@pytest.mark.parametrize('level', [-0.2, 1.2, 255.0])
def test_validate_args_rejects_images_outside_the_range(level):
    bijector = ImageLogit((1, 1, 1), alpha=0.2, validate_args=True)
    bijector.inverse(tf.constant([[[-0.12]]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'must lie in \(-0.1750, 1.1750\)'):
        bijector.inverse(tf.constant([[[level]]]))
    inverse = tf.function(bijector.inverse)
    with pytest.raises(tf.errors.InvalidArgumentError, match='scale the image'):
        inverse(tf.constant([[[level]]]))


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_inverse_of_saturated_images_is_finite(dtype):
    bijector = ImageLogit((1, 2, 1), alpha=0.2, dtype=dtype)
    image = bijector.forward(tf.constant([[[-300.0], [300.0]]], dtype))
    latent, log_det = bijector.inverse_and_log_det(tf.identity(image))
    assert np.all(np.isfinite(latent))
    assert np.isfinite(log_det)
    np.testing.assert_allclose(bijector.forward(latent), image, atol=1e-6)
    # Values far outside the bounds have no logit.
    assert np.all(np.isnan(bijector.inverse(tf.constant([[[-0.2], [1.2]]], dtype))))


def test_validate_args_rejects_nan():
    with pytest.raises(tf.errors.InvalidArgumentError, match='scale the image'):
        ImageLogit((1, 1, 1), alpha=0.2, validate_args=True).inverse(tf.constant([[[np.nan]]]))


def test_forward_is_linear_near_the_bounds():
    """Linear where float32 cannot represent the differences between logits, unchanged elsewhere."""
    bijector = ImageLogit((1, 1, 1), alpha=0.2)
    logits = np.linspace(-30.0, 30.0, 241, dtype=np.float32)
    image, log_det = (np.ravel(part) for part in bijector.forward_and_log_det(logits.reshape(-1, 1, 1, 1), None))
    last = scipy.special.logit(1 - 1024 * np.finfo(np.float32).eps)
    inside = np.abs(logits) < last
    p = scipy.special.expit(logits.astype(np.float64))
    np.testing.assert_allclose(image[inside], (p[inside] - 0.1) / 0.8, atol=2e-7)
    np.testing.assert_allclose(log_det[inside], np.log(p * (1 - p) / 0.8)[inside], rtol=1e-5)
    np.testing.assert_allclose(np.diff(image[~inside & (logits > 0)]), 0.25 * np.exp(log_det[-1]), rtol=1e-2)
    assert np.all(np.diff(image) > 0)
    back, back_log_det = bijector.inverse_and_log_det(image.reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(np.ravel(back), logits, atol=5e-3)
    np.testing.assert_allclose(back_log_det, -log_det, atol=5e-3)


@pytest.mark.parametrize('alpha', [0.2, 0.05, 1e-5])
def test_images_in_range_have_exact_logits(alpha):
    image = np.random.default_rng(0).uniform(size=(50, 1, 1, 1)).astype(np.float32)
    image[:2, 0, 0, 0] = 0.0, 1.0
    x, log_det = ImageLogit((1, 1, 1), alpha).inverse_and_log_det(image)
    p = (1 - alpha) * image.astype(np.float64) + 0.5 * alpha
    np.testing.assert_allclose(x, scipy.special.logit(p), rtol=2e-3)
    np.testing.assert_allclose(log_det, np.log((1 - alpha) / (p * (1 - p))).ravel(), rtol=2e-3)


@pytest.mark.slow
@hypothesis.settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(scale=strategies.floats(0.0, 0.1), seed=strategies.integers(0, 2**16))
def test_log_prob_of_samples_matches_the_sampling_density(saturating_flow, scale, seed):
    """Random weights, float32: logits up to 40. The tolerances, 0.002 and 0.2 nats, allow for rounded images."""
    flow, start = saturating_flow
    rng = np.random.default_rng(seed)
    for variable, value in zip(flow.trainable_variables, start, strict=True):
        variable.assign(value + scale * rng.normal(size=value.shape).astype(np.float32))
    normal = tfd.Sample(tfd.Normal(0.0, 1.0), [64])
    distribution = tfd.TransformedDistribution(normal, BoundCondition(flow, np.eye(3, dtype=np.float32)[seed % 3]))
    images, expected = distribution.experimental_sample_and_log_prob(20, seed=(1, seed))
    actual, expected = distribution.log_prob(tf.identity(images)).numpy(), expected.numpy()
    # A logit of hundreds gives values out of range: their density is NaN, never finite and wrong.
    margin = 0.5 * flow.settings.alpha / (1.0 - flow.settings.alpha) + 0.05
    is_image = (np.abs(images - 0.5) < 0.5 + margin).all((1, 2, 3))
    np.testing.assert_allclose(actual[is_image], expected[is_image], rtol=2e-3, atol=0.2)
    assert np.isnan(actual[~is_image]).all()
