"""The modulation against its formula."""

import numpy as np
import pytest

from tfp_bruno.networks import FeatureModulation

RNG = np.random.default_rng(0)


@pytest.mark.parametrize('shape', [(2, 4), (2, 3, 5, 4)])
def test_it_scales_and_shifts_by_linear_functions(randomised, shape):
    layer = randomised(FeatureModulation(3, dtype='float64'), [None, *shape[1:]])
    hidden, condition = RNG.normal(size=shape), RNG.normal(size=(2, 3))
    features = condition @ layer.kernel.numpy() + layer.bias.numpy()
    gamma, beta = (part.reshape(2, *[1] * (len(shape) - 2), 4) for part in np.split(features, 2, axis=-1))
    np.testing.assert_allclose(layer(hidden, condition), hidden * (1 + gamma) + beta, rtol=1e-12)


def test_it_starts_as_the_identity():
    hidden = RNG.normal(size=(2, 4)).astype(np.float32)
    np.testing.assert_array_equal(FeatureModulation(3)(hidden, np.ones((2, 3), np.float32)), hidden)
