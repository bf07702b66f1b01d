"""The chain's order, sum of log-determinants and errors."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalAffine, ConditionalChain, ImageLogit, Squeeze


def make_parts():
    affine = ConditionalAffine((4, 4, 1), 3, dtype=tf.float64)
    rng = np.random.default_rng(0)
    affine.initialize(rng.normal(size=(3, 4, 4, 1)), rng.uniform(0.5, 2.0, size=(3, 4, 4, 1)), np.eye(3))
    return [ImageLogit((4, 4, 1), dtype=tf.float64), affine, Squeeze((4, 4, 1), dtype=tf.float64)]


def test_chain_applies_the_last_part_first():
    logit, affine, squeeze = parts = make_parts()
    chain = ConditionalChain(parts, 3)
    x, condition = np.random.default_rng(1).normal(size=(5, 2, 2, 4)), np.eye(3)[[0, 1, 2, 0, 1]]
    image = squeeze.forward(x)
    shifted = affine.forward(image, conditional_input=condition)
    y, log_det = chain.forward_and_log_det(x, condition)
    np.testing.assert_allclose(y, logit.forward(shifted), rtol=1e-12)
    expected = affine.forward_log_det_jacobian(image, conditional_input=condition)
    expected += logit.forward_log_det_jacobian(shifted)
    np.testing.assert_allclose(log_det, expected, rtol=1e-12)
    assert chain.bijectors == tuple(parts)


def test_chain_rejects_event_shapes_that_differ():
    with pytest.raises(ValueError, match=r'image_logit takes events of shape \(4, 4, 1\), but squeeze makes \(8,'):
        ConditionalChain([ImageLogit((4, 4, 1)), Squeeze((8, 8, 1))], 3)


def test_chain_takes_the_condition_size_of_its_parts():
    logit, affine, squeeze = make_parts()
    assert ConditionalChain([logit, affine, squeeze]).condition_size == 3
    assert ConditionalChain([logit, squeeze]).condition_size is None
    # It may be given if no part takes a condition.
    assert ConditionalChain([logit, squeeze], 5).condition_size == 5
    chain = ConditionalChain([logit, ConditionalChain([affine, squeeze])])
    x, condition = np.random.default_rng(1).normal(size=(3, 2, 2, 4)), np.eye(3)
    expected = logit.forward(affine.forward(squeeze.forward(x), conditional_input=condition))
    np.testing.assert_allclose(chain.forward(x, conditional_input=condition), expected, rtol=1e-12)
    with pytest.raises(ValueError, match='needs the argument `conditional_input`'):
        chain.forward(x)


def test_chain_rejects_condition_sizes_that_differ():
    parts = [ConditionalAffine((4,), 3, name='first'), ConditionalAffine((4,), 2, name='second')]
    with pytest.raises(ValueError, match=r'same condition, but its sizes differ: first 3, second 2\.$'):
        ConditionalChain(parts)
    with pytest.raises(ValueError, match=r'sizes differ: `condition_size` 4, first 3\.$'):
        ConditionalChain(parts[:1], 4)


def test_chain_rejects_dtypes_that_differ():
    parts = [ConditionalAffine((4,), 3, name='first'), ConditionalAffine((4,), 3, dtype=tf.float64, name='second')]
    with pytest.raises(ValueError, match=r'one dtype, but first has float32 and second float64\.$'):
        ConditionalChain(parts)
