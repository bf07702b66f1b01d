"""What is random about a step: how many slices are contexts."""

import numpy as np
import pytest

from tfp_bruno.training import ObjectiveSettings, TrainingSettings, tasks


@pytest.mark.parametrize(
    ('power', 'most', 'length', 'every'), [(1.0, 8, 9, 0), (1.5, 8, 9, 0), (1.5, 8, 9, 4), (2.0, 8, 4, 0)]
)
def test_how_many_contexts_are_drawn(power, most, length, every, monkeypatch):
    monkeypatch.setattr(tasks, 'training_loss', lambda model, images, poses, objective, contexts: contexts)
    objective = ObjectiveSettings(max_contexts=most, context_power=power, prior_every=every)
    task = tasks.LikelihoodTask(TrainingSettings(objective=objective, sequence_length=length))
    drawn = np.array([int(task.draw_loss(None, {'is_prior': 0.0}, [0, step])(None, None)) for step in range(2000)])
    least = 1 if every else 0
    numbers = min(most, length - 1) + 1 - least
    # u^power < (k + 1) / numbers where u < ((k + 1) / numbers)^(1 / power).
    expected = np.diff((np.arange(numbers + 1) / numbers) ** (1 / power))
    found = np.bincount(drawn - least, minlength=numbers) / len(drawn)
    assert len(found) == numbers
    np.testing.assert_allclose(found, expected, atol=0.045)
    assert int(task.draw_loss(None, {'is_prior': 1.0}, [0, 0])(None, None)) == 0


def test_which_steps_have_no_contexts():
    task = tasks.LikelihoodTask(TrainingSettings(objective=ObjectiveSettings(prior_every=3)))
    assert [task.schedule(0.0, step)['is_prior'] for step in range(5)] == [1.0, 0.0, 0.0, 1.0, 0.0]
    task = tasks.LikelihoodTask(TrainingSettings())
    assert [task.schedule(0.0, step)['is_prior'] for step in range(3)] == [0.0, 0.0, 0.0]


def test_common_slices_are_told_once(monkeypatch):
    monkeypatch.setattr(tasks, 'training_loss', lambda model, images, poses, objective, contexts: poses)
    task = tasks.LikelihoodTask(TrainingSettings(common_slices=True))
    poses = np.broadcast_to(np.eye(9, dtype=np.float32), (4, 9, 9))
    np.testing.assert_array_equal(task.draw_loss(None, {'is_prior': 0.0}, [0, 0])(None, poses), np.eye(9))
