"""The loss of the deep baselines against their bound, and the schedules against the paper's figures."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno import baselines
from tfp_bruno.data.encoding import one_hot_poses
from tfp_bruno.training import AugmentationSettings, BoundSettings, Trainer, TrainingSettings
from tfp_bruno.training.bound import bound_loss, prediction_error
from tfp_bruno.training.learning_curve import HeldOut
from tfp_bruno.training.schedules import linear_rate_at, pixel_std_at
from tfp_bruno.training.sequences import make_sequences

SPACING = (3.0, 2.0, 2.0)
SEED = tf.constant([1, 2])
GQN = baselines.GenerativeQueryNetworkSettings(
    (16, 16, 1),
    12,
    aggregation='mean',
    representation_channels=16,
    steps=2,
    hidden_channels=12,
    canvas_channels=4,
    kernel_size=3,
    centred=True,
)
VAE = baselines.ConditionalVAESettings(
    (16, 16, 1),
    12,
    representation_channels=16,
    filters=(8, 16, 32, 32),
    latent_size=8,
    pose_encoding='fourier',
    centred=True,
)
TRAINING = TrainingSettings(
    steps=100,
    batch_size=8,
    sequence_length=8,
    learning_rate=6e-3,
    warmup_steps=5,
    clip_norm=1000.0,
    average_decay=0.9,
    objective=BoundSettings(first_std=0.2, last_std=0.1, std_steps=0, rate_steps=0, max_contexts=4),
)


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(0)
    slices = np.array([rng.permutation(12)[:5] for _ in range(3)])
    return rng.uniform(0, 1, (3, 5, 16, 16, 1)).astype(np.float32), np.eye(12, dtype=np.float32)[slices]


def test_the_loss_is_the_bound_without_its_constant(batch):
    images, poses = batch
    model, std = baselines.GenerativeQueryNetwork(GQN), 0.3
    loss, parts = bound_loss(model, images, poses, 3, tf.constant([3, 1, 0]), std, SEED)
    mask = np.arange(3) < np.array([[3], [1], [0]])
    representation = model.represent(images[:, :3], poses[:, :3], mask)
    elbo = model.elbo(images[:, 3:], poses[:, 3:], representation, std, SEED)
    constant = 256 * (math.log(std) + 0.5 * math.log(2 * math.pi))
    assert float(loss) == pytest.approx(-np.mean(elbo) - constant, rel=1e-4)
    assert float(loss) == pytest.approx(float(parts['reconstruction'] + parts['kl']), rel=1e-6)
    assert float(parts['kl']) == pytest.approx(float(parts['kl_1'] + parts['kl_2']), rel=1e-5)
    assert float(parts['reconstruction']) == pytest.approx(256 * float(parts['squared_error']) / (2 * std**2), rel=1e-5)
    expected = np.mean((model.mean_image(poses[:, 3:], representation) - images[:, 3:]) ** 2)
    error = prediction_error(model, images, poses, 3, tf.constant([3, 1, 0]))
    assert float(error) == pytest.approx(expected, rel=1e-5)


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
def test_the_schedules_are_the_papers(step, std, rate):
    settings = TrainingSettings(sequence_length=5, learning_rate=5e-4, objective=BoundSettings())
    assert pixel_std_at(0.0, step, settings.objective) == pytest.approx(std)
    assert linear_rate_at(step, settings) == pytest.approx(rate)


@pytest.mark.parametrize(('progress', 'std'), [(0.0, 0.2), (0.25, 0.15), (0.5, 0.1), (1.0, 0.1)])
def test_the_standard_deviation_can_follow_the_run(progress, std):
    assert pixel_std_at(progress, 10**6, TRAINING.objective) == pytest.approx(std)


@pytest.mark.parametrize(
    'change', [{'max_contexts': 0}, {'min_contexts': 5}, {'min_contexts': -1}, {'last_std': 0.0}], ids=str
)
def test_bad_settings(change):
    with pytest.raises(ValueError, match=r'contexts|last_std'):
        dataclasses.replace(TRAINING.objective, **change)
    with pytest.raises(ValueError, match='sequence_length'):
        Trainer(VAE, dataclasses.replace(TRAINING, sequence_length=4))


@pytest.mark.parametrize('model', [GQN, VAE], ids=['gqn', 'cvae'])
def test_a_short_training_improves_bound_and_prediction(discs, model):
    trainer = Trainer(model, TRAINING)
    trainer.initialize(discs[:12, ..., None], one_hot_poses(np.arange(12), 12))
    held_out = HeldOut(discs[12:], TRAINING, SPACING)
    before = held_out.measure(trainer.averaged_model)
    sequences = make_sequences(discs[:12], 8, 8, SPACING, AugmentationSettings(), 0)
    losses = [float(parts['loss']) for _, parts in trainer.train(sequences)]
    assert len(losses) == TRAINING.steps
    after = held_out.measure(trainer.averaged_model)
    assert after['loss'] < 0.6 * before['loss']
    assert after['prediction_error'] < 0.9 * before['prediction_error']
    again = [float(held_out.measure(trainer.averaged_model)['loss']) for _ in range(2)]
    assert again[0] == again[1]


def test_micro_batches_and_resuming(discs, tmp_path):
    settings = dataclasses.replace(TRAINING, steps=3, micro_batches=2)
    trainer = Trainer(GQN, settings)
    trainer.initialize(discs[:12, ..., None], one_hot_poses(np.arange(12), 12))
    batches = make_sequences(discs[:12], 8, 8, SPACING, AugmentationSettings(), 0)
    assert len(list(trainer.train(batches))) == 3
    path = trainer.checkpoint.save(str(tmp_path / 'state'))
    resumed = Trainer(GQN, dataclasses.replace(settings, steps=4))
    resumed.restore(path)
    for one, two in zip(trainer.model.variables, resumed.model.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    assert [step for step, _ in resumed.train(batches)] == [4]
