"""The random number of contexts of a step, and the schedules of a run."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.training import BoundSettings, ObjectiveSettings, TrainingSettings, tasks


@pytest.mark.parametrize(
    ('power', 'most', 'length', 'every'), [(1.0, 8, 9, 0), (1.5, 8, 9, 0), (1.5, 8, 9, 4), (2.0, 8, 4, 0)]
)
def test_number_of_contexts_follows_its_distribution(power, most, length, every):
    objective = ObjectiveSettings(max_contexts=most, context_power=power, prior_every=every)
    task = tasks.LikelihoodTask(TrainingSettings(objective=objective, sequence_length=length))
    drawn = np.array([task.num_contexts_at(step) for step in range(3000) if not every or step % every])
    least = 1 if every else 0
    numbers = min(most, length - 1) + 1 - least
    # u^power < (k + 1) / numbers where u < ((k + 1) / numbers)^(1 / power).
    expected = np.diff((np.arange(numbers + 1) / numbers) ** (1 / power))
    found = np.bincount(drawn - least, minlength=numbers) / len(drawn)
    assert len(found) == numbers
    np.testing.assert_allclose(found, expected, atol=0.045)


def test_number_of_contexts_depends_on_seed_and_step():
    def draw(seed):
        task = tasks.LikelihoodTask(TrainingSettings(seed=seed))
        return [task.num_contexts_at(step) for step in range(50)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_loss_takes_the_scheduled_number_of_contexts(monkeypatch):
    monkeypatch.setattr(tasks, 'training_loss', lambda model, images, poses, objective, contexts, foreground: contexts)
    task = tasks.LikelihoodTask(TrainingSettings())
    images = tf.zeros([1, 9, 16, 16, 1])
    for step in range(5):
        schedule = {name: tf.constant(value, tf.float32) for name, value in task.schedule(0.0, step).items()}
        assert int(task.draw_loss(None, schedule, [0, 0], images)(None, None)) == task.num_contexts_at(step)


@pytest.mark.parametrize(('length', 'count'), [(9, 4), (5, 4), (3, 2)])
def test_held_out_loss_has_four_contexts(monkeypatch, length, count):
    monkeypatch.setattr(
        tasks, 'training_loss', lambda model, images, poses, objective, contexts: (contexts, {'contexts': contexts})
    )
    task = tasks.LikelihoodTask(TrainingSettings(sequence_length=length))
    assert task.num_held_out_contexts == count
    assert int(task.held_out(None, None, None)['contexts']) == count


def test_prior_every_sets_the_steps_without_contexts():
    task = tasks.LikelihoodTask(TrainingSettings(objective=ObjectiveSettings(prior_every=3)))
    assert [task.schedule(0.0, step)['num_contexts'] == 0 for step in range(30)] == [True, False, False] * 10
    task = tasks.LikelihoodTask(TrainingSettings(objective=ObjectiveSettings(max_contexts=1)))
    assert {task.num_contexts_at(step) for step in range(20)} == {0, 1}


def test_common_slices_pass_one_set_of_poses(monkeypatch):
    monkeypatch.setattr(tasks, 'training_loss', lambda model, images, poses, objective, contexts, foreground: poses)
    task = tasks.LikelihoodTask(TrainingSettings(common_slices=True))
    poses = np.broadcast_to(np.eye(9, dtype=np.float32), (4, 9, 9))
    loss = task.draw_loss(None, {'num_contexts': 0.0}, [0, 0], tf.zeros([1, 9, 16, 16, 1]))
    np.testing.assert_array_equal(loss(None, poses), np.eye(9))


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
def test_learning_rate_warms_up_and_falls_as_a_half_cosine(progress, step, rate):
    settings = TrainingSettings(learning_rate=2.0, warmup_steps=5)
    assert tasks.learning_rate_at(progress, step, settings) == pytest.approx(2.0 * rate)


def test_learning_rate_without_warm_up():
    assert tasks.learning_rate_at(0.0, 0, TrainingSettings(learning_rate=3.0, warmup_steps=0)) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ('step', 'std', 'rate'),
    [
        # Science 2018, supplement: from 2.0 to 0.7 in 2e5 steps, from 5e-4 to 5e-5 in 1.6e6.
        (0, 2.0, 5e-4),
        (100_000, 1.35, 4.71875e-4),
        (200_000, 0.7, 4.4375e-4),
        (800_000, 0.7, 2.75e-4),
        (1_600_000, 0.7, 5e-5),
        (2_000_000, 0.7, 5e-5),
    ],
)
def test_schedules_match_the_paper(step, std, rate):
    settings = TrainingSettings(sequence_length=5, learning_rate=5e-4, objective=BoundSettings())
    assert tasks.pixel_std_at(0.0, step, settings.objective) == pytest.approx(std)
    assert tasks.linear_rate_at(step, settings) == pytest.approx(rate)


@pytest.mark.parametrize(('progress', 'std'), [(0.0, 0.2), (0.25, 0.15), (0.5, 0.1), (1.0, 0.1)])
def test_pixel_std_can_follow_the_progress(progress, std):
    assert tasks.pixel_std_at(
        progress, 10**6, BoundSettings(first_std=0.2, last_std=0.1, std_steps=0)
    ) == pytest.approx(std)
