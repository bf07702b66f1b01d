"""A tiny population, and a model small enough to train in seconds."""

import dataclasses

import numpy as np
import pytest

from tfp_bruno.bijectors import GlowSettings
from tfp_bruno.models import ModelSettings
from tfp_bruno.training import ObjectiveSettings, TrainingSettings

NUM_SLICES = 12
SIZE = 16
TINY_FLOW = GlowSettings(
    first_squeeze=2, couplings=(1,), filters=(12,), dense_couplings=1, dense_units=32, pose_units=8, map_channels=2
)


@pytest.fixture(scope='session')
def discs():
    """Sixteen subjects `[16, 12, 16, 16]`: a ball in a box, of random centre, radius and brightness."""
    rng = np.random.default_rng(0)
    k, h, w = np.meshgrid(np.arange(NUM_SLICES), np.arange(SIZE), np.arange(SIZE), indexing='ij')
    images = []
    for _ in range(16):
        centre = rng.normal([5.5, 7.5, 7.5], [0.5, 1.5, 1.5])
        distance = np.sqrt(((k - centre[0]) * 1.5) ** 2 + (h - centre[1]) ** 2 + (w - centre[2]) ** 2)
        ball = rng.uniform(0.4, 0.8) / (1.0 + np.exp((distance - rng.uniform(4.0, 6.0)) * 2.0))
        images.append(ball + rng.uniform(0.05, 0.1, ball.shape))
    return np.stack(images).astype(np.float32)


@pytest.fixture(scope='session')
def make_settings():
    """Makes the settings of a tiny model, and of its training by the joint likelihood."""

    def make(process='factor', **training):
        model = ModelSettings((SIZE, SIZE, 1), NUM_SLICES, process=process, flow=TINY_FLOW, factors=3)
        objective = ObjectiveSettings(joint=1.0, conditional=0.0)
        settings = TrainingSettings(
            steps=40,
            batch_size=4,
            sequence_length=5,
            learning_rate=3e-3,
            warmup_steps=5,
            average_decay=0.9,
            evaluate_every=20,
            objective=objective,
        )
        return model, dataclasses.replace(settings, **training)

    return make
