"""The other way round."""

import numpy as np

from tfp_bruno.bijectors import ConditionalAffine, ConditionalChain, ConditionalInvert, InvertibleConvolution

POSES = np.eye(3, dtype=np.float32)
RNG = np.random.default_rng(0)


def test_directions_are_swapped():
    affine = ConditionalAffine((2, 2, 1), 3)
    affine.initialize(RNG.normal(size=(3, 2, 2, 1)), RNG.uniform(0.5, 2, size=(3, 2, 2, 1)), POSES)
    value = RNG.normal(size=(3, 2, 2, 1)).astype(np.float32)
    for found, expected in zip(
        ConditionalInvert(affine).forward_and_log_det(value, POSES),
        affine.inverse_and_log_det(value, POSES),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_bijector_and_its_inverse_in_a_chain_do_nothing():
    mixing = InvertibleConvolution((2, 2, 3), RNG.normal(size=(3, 3)))
    chain = ConditionalChain([mixing, ConditionalInvert(mixing)])
    value = RNG.normal(size=(4, 2, 2, 3)).astype(np.float32)
    same, log_det = chain.inverse_and_log_det(value)
    np.testing.assert_allclose(same, value, atol=1e-5)
    np.testing.assert_allclose(log_det, np.zeros(4), atol=1e-6)
