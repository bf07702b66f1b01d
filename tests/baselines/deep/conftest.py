"""Small deep baselines with random weights."""

import types

import numpy as np
import pytest

from tfp_bruno import baselines

SIZE, NUM_SLICES = 8, 12


def make_model(kind, **settings):
    """Returns a baseline with random weights, also where they start at zero."""
    common = {'image_shape': (SIZE, SIZE, 1), 'num_slices': NUM_SLICES}
    common |= {'representation_channels': 8, 'pose_channels': 2}
    if kind == 'gqn':
        small = {'steps': 2, 'hidden_channels': 4, 'canvas_channels': 2, 'latent_channels': 1, 'kernel_size': 3}
        model = baselines.GenerativeQueryNetwork(
            baselines.GenerativeQueryNetworkSettings(**{**common, **small, **settings})
        )
    else:
        small = {'filters': (4, 4, 4, 4), 'latent_size': 2}
        model = baselines.ConditionalVAE(baselines.ConditionalVAESettings(**{**common, **small, **settings}))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.4, variable.shape))
    return model


@pytest.fixture(scope='session')
def make():
    return make_model


@pytest.fixture(scope='session', params=['gqn', 'cvae'])
def model(request):
    return make_model(request.param)


@pytest.fixture(scope='session')
def batch():
    """Three subjects with nine slices each."""
    rng = np.random.default_rng(1)
    slices = np.stack([rng.permutation(NUM_SLICES)[:9] for _ in range(3)])
    images = rng.uniform(0, 1, (3, 9, SIZE, SIZE, 1)).astype(np.float32)
    return types.SimpleNamespace(images=images, poses=np.eye(NUM_SLICES, dtype=np.float32)[slices])
