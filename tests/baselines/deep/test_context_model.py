"""Both deep baselines: any number and order of contexts, a valid lower bound, gradients and errors."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from tfp_bruno import baselines

SEED = tf.constant([3, 4])


@pytest.mark.parametrize('number', range(10))
def test_shapes_for_any_number_of_contexts(model, batch, number):
    representation = model.represent(batch.images[:, :number], batch.poses[:, :number])
    queries = batch.poses[:, :2]
    steps = 2 if isinstance(model, baselines.GenerativeQueryNetwork) else 1
    assert representation.shape == (3, 2, 2, 8)
    assert model.mean_image(queries, representation).shape == (3, 2, 8, 8, 1)
    assert model.sample(queries, representation, SEED).shape == (3, 2, 8, 8, 1)
    bound = model.bound(batch.images[:, :2], queries, representation, SEED)
    assert (bound.mean.shape, bound.kl.shape) == ((3, 2, 8, 8, 1), (3, 2, steps))
    assert np.isfinite(bound.mean).all()


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('gqn', {}),
        ('gqn', {'aggregation': 'mean', 'shared_cores': True}),
        ('gqn', {'representation': 'pool'}),
        ('gqn', {'representation': 'pyramid'}),
        ('cvae', {}),
    ],
    ids=str,
)
def test_represent_is_invariant_to_the_order_of_contexts(make, batch, kind, settings):
    model, order = make(kind, **settings), np.random.default_rng(2).permutation(9)
    there = model.represent(batch.images, batch.poses)
    back = model.represent(batch.images[:, order], batch.poses[:, order])
    np.testing.assert_allclose(there, back, rtol=1e-4, atol=1e-4)
    # Other pairs of image and pose have another representation.
    mixed = model.represent(batch.images[:, order], batch.poses)
    assert np.abs(mixed - there).max() > 0.01
    means = [model.mean_image(batch.poses[:, :2], representation) for representation in (there, back)]
    np.testing.assert_allclose(*means, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('aggregation', ['sum', 'mean'])
def test_represent_sums_or_averages_contexts(make, batch, aggregation):
    model = make('gqn', aggregation=aggregation)
    single = [model.represent(batch.images[:, [i]], batch.poses[:, [i]]).numpy() for i in range(4)]
    expected = {'sum': np.sum, 'mean': np.mean}[aggregation](single, axis=0)
    np.testing.assert_allclose(model.represent(batch.images[:, :4], batch.poses[:, :4]), expected, rtol=1e-4, atol=1e-5)
    mask = np.arange(9) < np.array([[4], [1], [0]])
    masked = model.represent(batch.images, batch.poses, mask)
    np.testing.assert_allclose(masked[0], expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(masked[1], single[0][1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(masked[2], np.zeros_like(masked[2]))
    np.testing.assert_array_equal(masked[2], model.represent(batch.images[:1, :0], batch.poses[:1, :0])[0])


def test_elbo_is_below_the_log_density(model, batch):
    std, number = 0.7, 40_000
    representation = model.represent(batch.images[:1, :3], batch.poses[:1, :3])
    query, pose = batch.images[:1, 3:4], batch.poses[:1, 3:4]
    # The density by simple Monte Carlo over the prior, which 64 pixels with large noise allow.
    means = model.sample(np.repeat(pose, number, axis=1), representation, SEED).numpy()[0]
    weights = stats.norm.logpdf(query[0], means, std).sum((1, 2, 3))
    log_prob = special.logsumexp(weights) - np.log(number)
    error = np.std(np.exp(weights - weights.max())) / np.mean(np.exp(weights - weights.max())) / np.sqrt(number)
    assert error < 0.1
    many = 500
    elbos = model.elbo(np.repeat(query, many, axis=1), np.repeat(pose, many, axis=1), representation, std, SEED).numpy()
    assert elbos.mean() < log_prob - 3.0 * elbos.std() / np.sqrt(many) + 3.0 * error
    # Importance weights of the same posterior must give the same density.
    assert special.logsumexp(elbos) - np.log(many) < log_prob + 0.7


def test_elbo_is_tight_if_posterior_and_prior_are_equal(make, batch):
    model, std = make('cvae'), 0.3
    # The latent vector has no effect, and the posterior is a unit normal except for the smallest scale.
    for variable in (*model.from_latent.trainable_variables, *model.to_posterior.trainable_variables):
        variable.assign(tf.zeros_like(variable))
    representation = model.represent(batch.images[:, :2], batch.poses[:, :2])
    elbo = model.elbo(batch.images[:, 2:5], batch.poses[:, 2:5], representation, std, SEED)
    mean = model.mean_image(batch.poses[:, 2:5], representation)
    expected = stats.norm.logpdf(batch.images[:, 2:5], mean, std).sum((2, 3, 4))
    np.testing.assert_allclose(elbo, expected, rtol=1e-4)


def test_kl_of_each_gqn_step_matches_two_normals(make, batch):
    model = make('gqn', steps=3, latent_channels=2)
    parameters = {'prior': np.array([0.3, -0.2, 0.5, -0.4]), 'posterior': np.array([-0.6, 0.1, 0.2, 1.0])}
    for name, bias in parameters.items():
        head = getattr(model, name)
        head.kernel.assign(tf.zeros_like(head.kernel))
        head.bias.assign(bias)
    (p_mean, p_scale), (q_mean, q_scale) = (
        (bias[:2], np.log1p(np.exp(bias[2:] + np.log(np.e - 1))) + 1e-3) for bias in parameters.values()
    )
    kl = np.log(p_scale / q_scale) + (q_scale**2 + (q_mean - p_mean) ** 2) / (2 * p_scale**2) - 0.5
    found = model.bound(batch.images[:, :1], batch.poses[:, :1], model.represent(batch.images, batch.poses), SEED).kl
    # A grid of 2 x 2.
    np.testing.assert_allclose(found, np.full((3, 1, 3), 4 * kl.sum()), rtol=1e-4)


def test_kl_of_the_vae_matches_a_unit_normal_prior(make, batch):
    model = make('cvae')
    model.to_posterior.kernel.assign(tf.zeros_like(model.to_posterior.kernel))
    bias = np.array([0.3, -1.0, 0.5, -0.4])
    model.to_posterior.bias.assign(bias)
    scale = np.log1p(np.exp(bias[2:] + np.log(np.e - 1))) + 1e-3
    expected = np.sum((scale**2 + bias[:2] ** 2 - 1) / 2 - np.log(scale))
    found = model.bound(batch.images, batch.poses, model.represent(batch.images, batch.poses), SEED).kl
    np.testing.assert_allclose(found, np.full((3, 9, 1), expected), rtol=1e-4)


def test_joint_elbo_conditions_each_slice_on_earlier_slices(model, batch):
    images, poses = batch.images[0, :4], batch.poses[0, :4]
    # Steps are drawn for all slices at once, so the noise differs: averages of many draws agree.
    draw = tf.function(lambda seed: model.joint_elbo(images, poses, 1.0, seed), autograph=False)
    joint = np.mean([draw(tf.constant([i, 0])) for i in range(60)])
    single = np.zeros(4)
    for index in range(4):
        representation = model.represent(images[None, :index], poses[None, :index])
        query = (np.repeat(part[None, [index]], 60, axis=1) for part in (images, poses))
        single[index] = np.mean(model.elbo(*query, representation, 1.0, SEED))
    assert joint == pytest.approx(single.sum(), rel=0.03)


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        ('gqn', {}),
        ('gqn', {'representation': 'pyramid', 'shared_cores': True, 'pose_encoding': 'fourier', 'centred': True}),
        ('cvae', {}),
    ],
    ids=str,
)
def test_gradients_reach_every_variable(make, batch, kind, settings):
    model = make(kind, **settings)
    with tf.GradientTape() as tape:
        representation = model.represent(batch.images[:, :4], batch.poses[:, :4])
        loss = tf.reduce_mean(model.elbo(batch.images[:, 4:], batch.poses[:, 4:], representation, 0.5, SEED))
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.any(gradient != 0), variable.name
        assert np.isfinite(gradient).all(), variable.name


def test_initialize_centres_the_output_on_the_mean_images(make):
    model = make('gqn', centred=True)
    images = np.random.default_rng(3).uniform(0, 1, (5, 12, 8, 8, 1)).astype(np.float32)
    model.initialize(images, np.eye(12, dtype=np.float32))
    model.observe.kernel.assign(tf.zeros_like(model.observe.kernel))
    model.observe.bias.assign(tf.zeros_like(model.observe.bias))
    poses = np.eye(12, dtype=np.float32)[None, [2, 7]]
    found = model.mean_image(poses, model.represent(images[:1, :0], poses[:, :0]))
    np.testing.assert_allclose(found[0], images.mean(0)[[2, 7]], atol=1e-5)
    model.observe.bias.assign([2.0])
    spread = images.std(0)
    assert float(model.spread) == pytest.approx(np.sqrt(np.mean(spread**2)), rel=1e-4)
    found = model.mean_image(poses, model.represent(images[:1, :0], poses[:, :0]))
    expected = images.mean(0) + 2.0 * np.maximum(spread, 0.1 * float(model.spread))
    np.testing.assert_allclose(found[0], expected[[2, 7]], atol=1e-5)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda images, poses: (images[..., :4, :], poses), '`images` must have shape'),
        (lambda images, poses: (images, poses[..., :5]), '`poses` must have shape'),
        (lambda images, poses: (images[:, :2], poses), 'a pose for every image'),
    ],
)
def test_bad_shapes_name_the_argument(model, batch, change, message):
    images, poses = change(batch.images, batch.poses)
    representation = model.represent(batch.images, batch.poses)
    with pytest.raises(ValueError, match=message):
        model.represent(images, poses)
    with pytest.raises(ValueError, match=message):
        model.elbo(images, poses, representation, 1.0, SEED)
