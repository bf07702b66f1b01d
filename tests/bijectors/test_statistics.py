"""Mean, standard deviation, covariance and entropy through bijectors whose Jacobian is constant given the condition."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_bruno.bijectors import (
    ActNorm,
    BoundCondition,
    ConditionalAffine,
    ConditionalChain,
    FactorOut,
    ImageLogit,
    InvertibleConvolution,
    Squeeze,
)

RNG = np.random.default_rng(0)
CONDITION = RNG.normal(size=3)
LOC, SCALE = RNG.normal(size=16), RNG.uniform(0.5, 2.0, size=16)
ENTROPY = 0.5 * 16 * np.log(2 * np.pi * np.e) + np.log(SCALE).sum()


def move(bijector):
    """Moves every weight away from the identity."""
    for variable in bijector.trainable_variables:
        variable.assign_add(0.3 * RNG.normal(size=variable.shape))
    return bijector


def affine(event_shape=(2, 2, 4)):
    return move(ConditionalAffine(event_shape, 3, dtype=tf.float64))


def convolution():
    return move(InvertibleConvolution((2, 2, 4), RNG.normal(size=(4, 4)), dtype=tf.float64))


ELEMENTWISE = {
    'actnorm': lambda: move(ActNorm((2, 2, 4), dtype=tf.float64)),
    'conditional_affine': affine,
    'squeeze': lambda: Squeeze((4, 4, 1), 2, dtype=tf.float64),
    'chain': lambda: ConditionalChain([Squeeze((4, 4, 1), 2, dtype=tf.float64), affine()]),
    'factor_out': lambda: FactorOut(
        (2, 2, 4), ConditionalChain([Squeeze((2, 2, 2), 2, dtype=tf.float64), affine((1, 1, 8))]), 3
    ),
}
MAKERS = {
    **ELEMENTWISE,
    'invertible_convolution': convolution,
    'chain_of_convolution': lambda: ConditionalChain([convolution(), affine()]),
}


def distribution_of(bijector):
    """A normal with known moments through the bijector, and the affine map of its flat events `(matrix, shift)`."""
    shape = bijector._event_shape_of_x
    normal = tfd.Independent(tfd.Normal(LOC.reshape(shape), SCALE.reshape(shape)), len(shape))
    bound = BoundCondition(bijector, CONDITION)
    points = np.concatenate([np.zeros([1, 16]), np.eye(16)]).reshape(17, *shape)
    images = bound.forward(points).numpy().reshape(17, 16)
    return tfd.TransformedDistribution(normal, bound), (images[1:] - images[0]).T, images[0]


@pytest.mark.parametrize('kind', MAKERS)
def test_mean_and_entropy_match_the_affine_map(kind):
    bijector = MAKERS[kind]()
    assert bijector.is_constant_jacobian
    distribution, matrix, shift = distribution_of(bijector)
    np.testing.assert_allclose(np.ravel(distribution.mean()), matrix @ LOC + shift, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.ravel(distribution.mode()), matrix @ LOC + shift, rtol=1e-9, atol=1e-9)
    log_det = np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(distribution.entropy(), ENTROPY + log_det, rtol=1e-9)
    # As TFP gives it for the same map.
    own = tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(LOC, SCALE), tfb.Shift(shift)(tfb.ScaleMatvecLU(*_lu(matrix)))
    )
    np.testing.assert_allclose(distribution.entropy(), own.entropy(), rtol=1e-9)
    np.testing.assert_allclose(np.ravel(distribution.mean()), own.mean(), rtol=1e-9, atol=1e-9)


def _lu(matrix):
    lower_upper, permutation = tf.linalg.lu(matrix)
    return lower_upper, permutation


@pytest.mark.parametrize('kind', ELEMENTWISE)
def test_stddev_of_elementwise_maps_matches(kind):
    distribution, matrix, _ = distribution_of(ELEMENTWISE[kind]())
    expected = np.sqrt(np.diag(matrix @ np.diag(SCALE**2) @ matrix.T))
    np.testing.assert_allclose(np.ravel(distribution.stddev()), expected, rtol=1e-9)


def test_stddev_of_a_mixing_map_is_an_error():
    distribution, _, _ = distribution_of(convolution())
    with pytest.raises(NotImplementedError, match='multivariate'):
        distribution.stddev()


def test_covariance_of_vectors_matches():
    bijector = affine((16,))
    _, matrix, _ = distribution_of(bijector)
    normal = tfd.MultivariateNormalDiag(LOC, SCALE)
    distribution = tfd.TransformedDistribution(normal, BoundCondition(bijector, CONDITION))
    np.testing.assert_allclose(distribution.covariance(), matrix @ np.diag(SCALE**2) @ matrix.T, rtol=1e-9, atol=1e-9)


def test_entropy_of_a_batch_of_conditions_matches():
    bijector, conditions = affine((16,)), RNG.normal(size=(5, 3))
    normal = tfd.MultivariateNormalDiag(LOC, SCALE)
    distribution = tfd.TransformedDistribution(normal, BoundCondition(bijector, conditions))
    expected = [ENTROPY + (one @ bijector._log_scale.numpy()).sum() for one in conditions]
    np.testing.assert_allclose(distribution.entropy(), expected, rtol=1e-9)
    assert distribution.mean().shape == (5, 16)
    np.testing.assert_allclose(distribution[2].entropy(), expected[2], rtol=1e-9)


def test_mean_of_a_nonlinear_map_is_an_error(make_bijector):
    bijector = make_bijector(tf.float64)
    x = RNG.normal(size=(2, *bijector._event_shape_of_x))
    log_det = bijector.forward_and_log_det(x, np.ones([2, 3]))[1].numpy()
    differ = abs(log_det[0] - log_det[1]) > 1e-9
    assert not (differ and bijector.is_constant_jacobian)
    chain = ConditionalChain([ImageLogit((2, 2, 4), dtype=tf.float64), affine()])
    assert not chain.is_constant_jacobian
    with pytest.raises(NotImplementedError):
        distribution_of(chain)[0].mean()
