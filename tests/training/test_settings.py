"""Settings and presets survive JSON; the learning rate follows them."""

import json

import numpy as np
import pytest

from tfp_bruno.bijectors import ConditionalRealNVP
from tfp_bruno.training import PRESETS, TrainingSettings
from tfp_bruno.training.schedules import learning_rate_at


@pytest.mark.parametrize('name', sorted(PRESETS))
def test_settings_survive_json(name):
    settings = PRESETS[name].training
    assert TrainingSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_the_paper_preset_is_the_papers():
    paper = PRESETS['paper']
    assert (paper.model['process'], paper.training.sequence_length) == ('exchangeable', 9)
    assert (paper.training.objective.joint, paper.training.objective.structural) == (1.0, 0.0)
    assert paper.training.augmentation.probability == 0.0


def test_the_gpu_preset_is_the_recipe_of_the_cpu_with_a_larger_flow():
    cpu, gpu = PRESETS['cpu'], PRESETS['gpu']
    assert gpu.training.objective == cpu.training.objective
    assert {**gpu.model, 'flow': None} == {**cpu.model, 'flow': None}
    sizes = [
        sum(np.prod(variable.shape) for variable in ConditionalRealNVP((64, 64, 1), 80, preset.model['flow']).variables)
        for preset in (cpu, gpu)
    ]
    assert sizes[1] > 2 * sizes[0]


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
