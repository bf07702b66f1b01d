"""Learning rates and standard deviations in the course of a training."""

import pytest

from tfp_bruno.training import TrainingSettings
from tfp_bruno.training.schedules import learning_rate_at


@pytest.mark.parametrize(
    ('progress', 'step', 'rate'),
    [
        (0.0, 0, 0.2),
        (0.0, 4, 1.0),
        (0.0, 100, 1.0),
        (1 / 3, 100, 0.01 + 0.99 * 0.75),
        (0.5, 100, 0.505),
        (1.0, 100, 0.01),
        (1.5, 100, 0.01),
        (0.5, 1, 0.4 * 0.505),
    ],
)
def test_the_learning_rate_warms_up_and_falls_as_a_half_cosine(progress, step, rate):
    settings = TrainingSettings(learning_rate=2.0, warmup_steps=5)
    assert learning_rate_at(progress, step, settings) == pytest.approx(2.0 * rate)


def test_no_warm_up():
    assert learning_rate_at(0.0, 0, TrainingSettings(learning_rate=3.0, warmup_steps=0)) == pytest.approx(3.0)
