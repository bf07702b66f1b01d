"""The losses against the densities and bounds of the models, and against values computed by hand."""

import dataclasses
import math
import types

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfp_bruno.baselines import GenerativeQueryNetwork, GenerativeQueryNetworkSettings
from tfp_bruno.evaluation.metrics import ssim_map
from tfp_bruno.models import build_model
from tfp_bruno.training import ObjectiveSettings
from tfp_bruno.training.objectives import (
    bound_loss,
    conditional_terms,
    foreground_size,
    joint_loss,
    prediction_error,
    structural_error,
    training_loss,
)

BATCH, LENGTH, PIXELS = 3, 5, 16 * 16


@pytest.fixture(scope='module', params=['factor', pytest.param('exchangeable', marks=pytest.mark.slow)])
def case(request, make_settings):
    """A model with random weights, images, poses, and their latent vectors and log-determinants."""
    model_settings, settings = make_settings(request.param)
    model = build_model(model_settings, settings.sequence_length, 0)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign_add(0.05 * rng.normal(size=variable.shape).astype(np.float32))
    if request.param == 'factor':
        loadings = model.distribution.loadings
        loadings.assign(0.5 * rng.normal(size=loadings.shape).astype(np.float32))
    images = rng.uniform(0.05, 0.95, (BATCH, LENGTH, 16, 16, 1)).astype(np.float32)
    slices = np.array([rng.permutation(12)[:LENGTH] for _ in range(BATCH)])
    poses = np.eye(12, dtype=np.float32)[slices]
    latents, log_dets = model.encode(images, poses)
    return types.SimpleNamespace(model=model, images=images, poses=poses, latents=latents, log_dets=log_dets)


def log_prob(case, start, stop):
    """The joint density of some of the slices, from the model's `log_prob`."""
    prior = case.model.posterior(case.images[:, :0], case.poses[:, :0], stop - start)
    poses = case.poses[:, start:stop]
    return prior.log_prob(case.images[:, start:stop], bijector_kwargs={'conditional_input': poses}).numpy()


def test_joint_loss_is_the_density_per_dimension(case):
    loss = joint_loss(case.model, case.poses, case.latents, case.log_dets)
    direct = case.model.log_prob(case.images, bijector_kwargs={'conditional_input': case.poses})
    assert float(loss) == pytest.approx(-np.mean(direct) / (LENGTH * PIXELS), rel=1e-5)


@pytest.mark.parametrize('contexts', [0, 1, 4])
def test_conditional_loss_is_joint_minus_marginal(case, contexts):
    loss, decoded = conditional_terms(
        case.model, case.poses, case.latents, case.log_dets, tf.constant(contexts), decode=False
    )
    expected = log_prob(case, 0, LENGTH)
    if contexts:
        expected = expected - log_prob(case, 0, contexts)
    assert float(loss) == pytest.approx(-expected.mean() / ((LENGTH - contexts) * PIXELS), rel=2e-4)
    assert decoded is None


@pytest.mark.parametrize('contexts', [0, 3])
def test_decoded_mean_matches_the_posterior(case, contexts):
    _, decoded = conditional_terms(case.model, case.poses, case.latents, case.log_dets, tf.constant(contexts))
    for index, (images, poses) in enumerate(zip(case.images, case.poses, strict=True)):
        posterior = case.model.posterior(images[:contexts], poses[:contexts], LENGTH - contexts)
        np.testing.assert_allclose(decoded[index], posterior.mean_image(poses[contexts:]), atol=2e-3)


def test_conditional_loss_by_hand():
    class Process:
        def posterior(self, latents, poses, num_steps):
            return self

        def log_prob_and_mean(self, latents, poses):
            return tf.constant([-1.0]), self.mean(poses)

        def marginal_log_prob(self, latents, poses):
            return tf.constant([[-2.0, -3.0]])

        def mean(self, conditional_input):
            return tf.fill([1, 2, 1], 0.25)

    decoded_at = []

    def decode(latents, poses):
        decoded_at.append(poses)
        return tf.reshape(latents, [1, 2, 1, 1, 1])

    model = types.SimpleNamespace(distribution=Process(), decode=decode)
    poses = np.eye(3, dtype=np.float32)[None]
    loss, decoded = conditional_terms(model, poses, tf.zeros([1, 3, 1]), tf.constant([[7.0, 2.0, 3.0]]), 1)
    # Two targets of one dimension, with log-determinants 2 and 3 and a density of -1 together.
    assert float(loss) == pytest.approx(-(2.0 + 3.0 - 1.0) / 2)
    alone, _ = conditional_terms(
        model, poses, tf.zeros([1, 3, 1]), tf.constant([[7.0, 2.0, 3.0]]), 1, independent_targets=True
    )
    assert float(alone) == pytest.approx(-(2.0 + 3.0 - 5.0) / 2)
    np.testing.assert_array_equal(decoded, np.full([1, 2, 1, 1, 1], 0.25))
    np.testing.assert_array_equal(decoded_at[0], poses[:, 1:])


def test_training_loss_is_the_weighted_sum_of_its_parts(case):
    settings = ObjectiveSettings(joint=0.5, conditional=2.0, structural=3.0, squared_error=4.0)
    loss, parts = training_loss(case.model, case.images, case.poses, settings, tf.constant(2))
    parts = {name: float(part) for name, part in parts.items()}
    assert sorted(parts) == ['conditional', 'joint', 'squared_error', 'structural']
    by_hand = 0.5 * parts['joint'] + 2.0 * parts['conditional'] + 3.0 * parts['structural']
    by_hand += 4.0 * parts['squared_error']
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    posterior = case.model.posterior(case.images[:, :2], case.poses[:, :2], LENGTH - 2)
    squared = np.mean((posterior.mean_image(case.poses[:, 2:]).numpy() - case.images[:, 2:]) ** 2)
    assert parts['squared_error'] == pytest.approx(squared, rel=1e-3)


@pytest.mark.parametrize(('contexts', 'weight'), [(0, 7.0), (1, 4.0)])
def test_squared_error_has_its_own_weight_without_contexts(case, contexts, weight):
    settings = ObjectiveSettings(joint=0.0, conditional=1.0, squared_error=4.0, prior_squared_error=7.0)
    loss, parts = training_loss(case.model, case.images, case.poses, settings, tf.constant(contexts))
    assert float(loss) == pytest.approx(float(parts['conditional'] + weight * parts['squared_error']), rel=1e-5)


@pytest.mark.parametrize(('contexts', 'weight'), [(0, 300.0), (1, 10 + 290 / 8), (3, 10 + 290 / 64)])
def test_weight_of_squared_error_decays_with_the_number_of_contexts(case, contexts, weight):
    settings = ObjectiveSettings(
        joint=0.0, conditional=1.0, squared_error=10.0, prior_squared_error=300.0, prior_decay=3.0
    )
    loss, parts = training_loss(case.model, case.images, case.poses, settings, tf.constant(contexts))
    assert float(loss) == pytest.approx(float(parts['conditional'] + weight * parts['squared_error']), rel=1e-5)


def test_squared_error_without_contexts_alone_decodes_the_mean(case):
    settings = ObjectiveSettings(joint=0.0, conditional=1.0, prior_squared_error=7.0)
    loss, parts = training_loss(case.model, case.images, case.poses, settings, tf.constant(0))
    assert float(loss) == pytest.approx(float(parts['conditional'] + 7.0 * parts['squared_error']), rel=1e-5)


@pytest.mark.parametrize('contexts', [0, 2])
def test_common_poses_match_repeated_poses(case, contexts):
    settings = ObjectiveSettings(joint=1.0, conditional=1.0, structural=1.0)
    common = np.eye(12, dtype=np.float32)[[3, 0, 7, 11, 4]]
    repeated = np.broadcast_to(common, case.poses.shape)
    _, parts = training_loss(case.model, case.images, common, settings, tf.constant(contexts))
    _, expected = training_loss(case.model, case.images, repeated, settings, tf.constant(contexts))
    assert sorted(parts) == sorted(expected)
    for name, part in parts.items():
        assert float(part) == pytest.approx(float(expected[name]), rel=1e-4), name


@pytest.mark.parametrize(('contexts', 'scored', 'joint'), [(0, 2, 0.0), (2, 1, 0.0), (2, 1, 1.0), (3, 9, 0.0)])
def test_scored_targets_limit_the_likelihood_not_the_decoded_mean(case, contexts, scored, joint):
    settings = ObjectiveSettings(joint=joint, conditional=1.0, squared_error=1.0, scored_targets=scored)
    _, parts = training_loss(case.model, case.images, case.poses, settings, tf.constant(contexts))
    last = min(contexts + scored, LENGTH)
    expected = log_prob(case, 0, last) - (log_prob(case, 0, contexts) if contexts else 0.0)
    size = (last - contexts) * PIXELS
    assert float(parts['conditional']) == pytest.approx(-expected.mean() / size, rel=2e-4)
    everything = dataclasses.replace(settings, scored_targets=None)
    _, whole = training_loss(case.model, case.images, case.poses, everything, tf.constant(contexts))
    assert float(parts['squared_error']) == pytest.approx(float(whole['squared_error']), rel=1e-5)
    assert parts.get('joint') == whole.get('joint')


def test_parts_without_a_weight_are_left_out(case):
    settings = ObjectiveSettings(joint=0.0, conditional=1.0)
    loss, parts = training_loss(case.model, case.images, case.poses, settings, tf.constant(2))
    assert list(parts) == ['conditional']
    assert float(loss) == pytest.approx(float(parts['conditional']))


def test_gradients_reach_every_variable(case):
    settings = ObjectiveSettings(joint=1.0, conditional=1.0, structural=1.0)
    with tf.GradientTape() as tape:
        loss, _ = training_loss(case.model, case.images, case.poses, settings, tf.constant(2))
    gradients = tape.gradient(loss, case.model.trainable_variables)
    for variable, gradient in zip(case.model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        assert np.abs(gradient).max() > 0, variable.name


def test_structural_error_matches_the_metric():
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.normal(size=(2, 3, 24, 24)), (0, 0, 2, 2))
    truth = np.clip(3 * truth, 0, 1).astype(np.float32)
    decoded = np.clip(truth + 0.1 * rng.normal(size=truth.shape), 0, 1).astype(np.float32)
    similarity = ssim_map(truth.reshape(-1, 24, 24), decoded.reshape(-1, 24, 24))[:, 5:-5, 5:-5]
    foreground = truth.reshape(-1, 24, 24)[:, 5:-5, 5:-5] > 0.02
    for share in (0.5, 0.3):
        expected = 1 - share * similarity[foreground].mean() - (1 - share) * similarity.mean()
        assert 0.1 < expected < 1
        assert float(structural_error(truth[..., None], decoded[..., None], share)) == pytest.approx(expected, abs=1e-5)
    assert float(structural_error(truth[..., None], truth[..., None])) == pytest.approx(0, abs=1e-6)
    # Background alone: no foreground to average over.
    assert np.isfinite(structural_error(0 * truth[..., None], decoded[..., None]))


def test_structural_errors_of_parts_average_to_that_of_the_batch():
    rng = np.random.default_rng(0)
    truth, decoded = rng.uniform(0.1, 0.9, (2, 4, 3, 16, 16, 1)).astype(np.float32)
    # Each sequence has more foreground than the one before it, and the first has none.
    truth *= np.arange(16)[:, None, None] < np.arange(0, 20, 5)[:, None, None, None, None]
    sizes = [float(foreground_size(part)) for part in truth[:, None]]
    assert sizes == [0.0, 0.0, 3 * 5 * 6, 3 * 6 * 6]
    parts = [
        structural_error(one[None], two[None], foreground=tf.constant(np.mean(sizes), tf.float32))
        for one, two in zip(truth, decoded, strict=True)
    ]
    assert np.mean(parts) == pytest.approx(float(structural_error(truth, decoded)), abs=1e-6)


def test_bound_loss_is_the_elbo_without_its_constant():
    rng = np.random.default_rng(0)
    slices = np.array([rng.permutation(12)[:5] for _ in range(3)])
    images = rng.uniform(0, 1, (3, 5, 16, 16, 1)).astype(np.float32)
    poses = np.eye(12, dtype=np.float32)[slices]
    settings = GenerativeQueryNetworkSettings(
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
    model, std, seed = GenerativeQueryNetwork(settings), 0.3, tf.constant([1, 2])
    loss, parts = bound_loss(model, images, poses, 3, tf.constant([3, 1, 0]), std, seed)
    mask = np.arange(3) < np.array([[3], [1], [0]])
    representation = model.represent(images[:, :3], poses[:, :3], mask)
    elbo = model.elbo(images[:, 3:], poses[:, 3:], representation, std, seed)
    constant = 256 * (math.log(std) + 0.5 * math.log(2 * math.pi))
    assert float(loss) == pytest.approx(-np.mean(elbo) - constant, rel=1e-4)
    assert float(loss) == pytest.approx(float(parts['reconstruction'] + parts['kl']), rel=1e-6)
    assert float(parts['kl']) == pytest.approx(float(parts['kl_1'] + parts['kl_2']), rel=1e-5)
    assert float(parts['reconstruction']) == pytest.approx(256 * float(parts['squared_error']) / (2 * std**2), rel=1e-5)
    expected = np.mean((model.mean_image(poses[:, 3:], representation) - images[:, 3:]) ** 2)
    error = prediction_error(model, images, poses, 3, tf.constant([3, 1, 0]))
    assert float(error) == pytest.approx(expected, rel=1e-5)
