"""Networks with random weights, the same in every run."""

import numpy as np
import pytest
import tf_keras


@pytest.fixture(autouse=True)
def fixed_seed():
    tf_keras.utils.set_random_seed(0)


@pytest.fixture
def randomised():
    """A function that builds a layer for an input shape and draws every weight."""

    def draw(layer, input_shape, seed=0):
        layer.build(input_shape)
        rng = np.random.default_rng(seed)
        for variable in layer.trainable_variables:
            variable.assign(0.3 * rng.normal(size=variable.shape))
        return layer

    return draw
