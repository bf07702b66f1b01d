"""The model of whole subjects: exact densities, exact conditioning, samples, and use with TFP."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_bruno.distributions import ExchangeableStudentTProcess
from tfp_bruno.models import ConditionalBruno, ModelSettings, build_model
from tfp_bruno.networks import OneHotPoseEncoder

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 4, 4, 4, 1))


def at(poses):
    return {'bijector_kwargs': {'conditional_input': poses}}


def test_log_prob_is_process_plus_log_determinants(model, poses):
    latents = model.bijector.inverse(IMAGES, conditional_input=poses)
    log_det = model.bijector.inverse_log_det_jacobian(IMAGES, conditional_input=poses)
    expected = model.distribution.log_prob(latents, conditional_input=poses) + tf.reduce_sum(log_det, -1)
    np.testing.assert_allclose(model.log_prob(IMAGES, **at(poses)), expected, rtol=1e-10)
    encoded = model.encode(IMAGES, poses)
    np.testing.assert_allclose(encoded[0], latents, rtol=1e-10)
    np.testing.assert_allclose(encoded[1], log_det, rtol=1e-10)
    np.testing.assert_allclose(model.decode(*encoded[:1], poses), IMAGES, atol=1e-10)


@pytest.mark.parametrize('seen', [1, 3])
def test_posterior_is_joint_over_marginal(model, poses, seen):
    posterior = model.posterior(IMAGES[:, :seen], poses[:seen], 4 - seen)
    assert isinstance(posterior, ConditionalBruno)
    assert posterior.event_shape == [4 - seen, 4, 4, 1]
    assert posterior.batch_shape == [3]
    marginal = ConditionalBruno(model.distribution.copy(num_steps=seen), model.bijector)
    expected = model.log_prob(IMAGES, **at(poses)) - marginal.log_prob(IMAGES[:, :seen], **at(poses[:seen]))
    np.testing.assert_allclose(posterior.log_prob(IMAGES[:, seen:], **at(poses[seen:])), expected, rtol=1e-9)


def test_posterior_twice_equals_once(model, poses):
    once = model.posterior(IMAGES[:, :3], poses[:3], 1)
    twice = model.posterior(IMAGES[:, :1], poses[:1], 2).posterior(IMAGES[:, 1:3], poses[1:3], 1)
    log_prob = once.log_prob(IMAGES[:, 3:], **at(poses[3:]))
    np.testing.assert_allclose(twice.log_prob(IMAGES[:, 3:], **at(poses[3:])), log_prob, rtol=1e-9)


def test_log_prob_does_not_depend_on_order(model, poses):
    order = [2, 0, 3, 1]
    log_prob = model.log_prob(IMAGES, **at(poses))
    np.testing.assert_allclose(model.log_prob(IMAGES[:, order], **at(poses[order])), log_prob, rtol=1e-10)
    one = model.posterior(IMAGES[:, :3], poses[:3], 1).mean_image(poses[3:])
    other = model.posterior(IMAGES[:, [2, 0, 1]], poses[[2, 0, 1]], 1).mean_image(poses[3:])
    np.testing.assert_allclose(other, one, rtol=1e-9)


def test_posterior_without_contexts_is_the_prior(model, poses):
    prior = model.posterior(IMAGES[0, :0], poses[:0], 4)
    assert prior.batch_shape == []
    np.testing.assert_allclose(prior.log_prob(IMAGES, **at(poses)), model.log_prob(IMAGES, **at(poses)), rtol=1e-10)
    np.testing.assert_allclose(prior.mean_image(poses), model.mean_image(poses), rtol=1e-10)
    batch = model.posterior(IMAGES[:, :0], poses[:0], 2)
    assert batch.batch_shape == [3]
    assert batch.sample(seed=(1, 2), **at(poses[:2])).shape == (3, 2, 4, 4, 1)


@pytest.mark.slow
def test_sample_shapes(model, poses):
    assert model.sample(seed=(1, 2), **at(poses)).shape == (4, 4, 4, 1)
    assert model.sample([5, 2], seed=(1, 2), **at(poses)).shape == (5, 2, 4, 4, 4, 1)
    posterior = model.posterior(IMAGES[:, :2], poses[:2], 2)
    assert posterior.sample(5, seed=(1, 2), **at(poses[2:])).shape == (5, 3, 2, 4, 4, 1)
    samples, log_prob = posterior.experimental_sample_and_log_prob(5, seed=(1, 2), **at(poses[2:]))
    assert log_prob.shape == (5, 3)
    np.testing.assert_allclose(log_prob, posterior.log_prob(tf.identity(samples), **at(poses[2:])), rtol=1e-8)


def test_sample_is_joint_and_follows_the_process(model, poses):
    posterior = model.posterior(IMAGES[0, :2], poses[:2], 2)
    samples = posterior.sample(8000, seed=(1, 2), **at(poses[2:]))
    latents = model.encode(samples, poses[2:])[0].numpy()
    kwargs = {'conditional_input': poses[2:]}
    mean, variance = posterior.distribution.mean(**kwargs), posterior.distribution.variance(**kwargs).numpy()
    np.testing.assert_allclose(latents.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(latents.var(0), variance, rtol=0.25)
    centred = latents - latents.mean(0)
    # Two slices of one sample belong to one subject.
    together = (centred[:, 0] * centred[:, 1]).mean(0)
    assert np.all(np.abs(together).mean() > 0.05)


def test_mean_image_decodes_the_mean(model, poses):
    posterior = model.posterior(IMAGES[:, :2], poses[:2], 2)
    kwargs = {'conditional_input': poses[2:]}
    expected = model.bijector.forward(posterior.distribution.mean(**kwargs), conditional_input=poses[2:])
    images = posterior.mean_image(poses[2:])
    assert images.shape == (3, 2, 4, 4, 1)
    np.testing.assert_allclose(images, expected, rtol=1e-10)


def test_at_needs_no_arguments(model, poses):
    fixed = model.at(poses)
    assert fixed.event_shape == [4, 4, 4, 1]
    assert fixed.sample([5, 2], seed=(1, 2)).shape == (5, 2, 4, 4, 4, 1)
    np.testing.assert_allclose(fixed.log_prob(IMAGES), model.log_prob(IMAGES, **at(poses)), rtol=1e-10)
    posterior = model.posterior(IMAGES[:, :2], poses[:2], 2)
    fixed = posterior.at(poses[2:], name='rest')
    assert fixed.name == 'rest'
    assert fixed.batch_shape == [3]
    expected = posterior.log_prob(IMAGES[:, 2:], **at(poses[2:]))
    np.testing.assert_allclose(fixed.log_prob(IMAGES[:, 2:]), expected, rtol=1e-10)


def test_at_a_batch_of_poses(model, poses):
    batch = np.stack([poses, poses[::-1]])
    fixed = model.at(batch)
    assert fixed.batch_shape == [2]
    assert fixed.event_shape == [4, 4, 4, 1]
    assert fixed.sample(5, seed=(1, 2)).shape == (5, 2, 4, 4, 4, 1)
    expected = [model.log_prob(IMAGES[0], **at(each)) for each in batch]
    np.testing.assert_allclose(fixed.log_prob(IMAGES[0]), expected, rtol=1e-9)


def test_slice_of_a_batch_of_poses(model, poses):
    batch = np.stack([poses, poses[::-1], poses[[1, 0, 3, 2]]])
    fixed = model.at(batch)
    expected = np.array([model.log_prob(IMAGES[0], **at(each)) for each in batch])
    for index in (0, 2, slice(None, None, -1)):
        assert fixed[index].batch_shape == expected[index].shape
        np.testing.assert_allclose(fixed[index].log_prob(IMAGES[0]), expected[index], rtol=1e-9)
        np.testing.assert_allclose(fixed[index].mean_image(), fixed.mean_image().numpy()[index], atol=1e-9)


def test_sample_at_a_batch_of_poses_needs_bound_poses(model, poses):
    """A sample of a model without a batch is one subject, not one per set of poses."""
    batch = np.stack([poses, poses[::-1]])
    for shape in ((), 2):
        with pytest.raises(ValueError, match=r'batch shape \(\) at poses \(2, 4, 6\); bind the poses first') as caught:
            model.sample(shape, seed=(1, 2), **at(batch))
        assert '\n' not in str(caught.value)
    samples = model.at(batch).sample(3000, seed=(1, 2))
    assert samples.shape == (3000, 2, 4, 4, 4, 1)
    # The sets have nothing in common: two subjects.
    latents = model.encode(samples, batch)[0].numpy()
    together = [np.corrcoef(latents[:, 0, 0, d], latents[:, 1, 3, d])[0, 1] for d in range(16)]
    assert np.abs(together).max() < 0.15


def test_bound_model_causes_no_new_trace(model, poses):
    traces = []

    @tf.function(autograph=False)
    def bind(poses):
        traces.append('bind')
        return model.at(poses)

    @tf.function(autograph=False)
    def score(bound, images):
        traces.append('score')
        return bound.log_prob(images)

    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        expected = model.log_prob(IMAGES, **at(poses[order]))
        for bound in (bind(tf.constant(poses[order])), model.at(poses[order])):
            assert isinstance(bound, ConditionalBruno)
            # The same weights, not fresh ones.
            for variable, own in zip(bound.bijector.variables, model.bijector.variables, strict=True):
                np.testing.assert_array_equal(variable, own)
            np.testing.assert_allclose(score(bound, IMAGES), expected, rtol=1e-9)
    assert sorted(traces) == ['bind', 'score']


def test_joint_distribution_log_prob(model, poses):
    def brightness(images):
        return tfd.Normal(tf.reduce_mean(images, [-4, -3, -2, -1]), np.float64(0.1))

    joint = tfd.JointDistributionSequential([model.at(poses), brightness])
    images, mean = joint.sample(5, seed=(1, 2))
    assert images.shape == (5, 4, 4, 4, 1)
    images = tf.identity(images)
    expected = model.log_prob(images, **at(poses))
    expected += brightness(images).log_prob(mean)
    np.testing.assert_allclose(joint.log_prob([images, mean]), expected, rtol=1e-8)


def test_absent_or_misshaped_poses_are_refused(model, poses):
    for use in (
        lambda: model.log_prob(IMAGES),
        lambda: model.sample(seed=(1, 2)),
        lambda: model.posterior(IMAGES, None, 1),
    ):
        with pytest.raises(ValueError, match='`conditional_input`'):
            use()
    with pytest.raises(ValueError, match=r'\(3, 4, 4, 4, 1\).*does not broadcast.*\(3, 6\)'):
        model.log_prob(IMAGES, **at(poses[:3]))
    with pytest.raises(ValueError, match=r'must have shape \[\.\.\., 6\], got \(4, 5\)'):
        model.log_prob(IMAGES, **at(poses[:, :5]))


def test_networks_run_once_per_call(model, poses, monkeypatch):
    calls = []
    original = OneHotPoseEncoder.__call__
    monkeypatch.setattr(OneHotPoseEncoder, '__call__', lambda self, *args: calls.append(1) or original(self, *args))
    for use in (
        lambda: model.log_prob(IMAGES, **at(poses)),
        lambda: model.posterior(IMAGES, poses, 1),
        lambda: model.mean_image(poses),
        lambda: model.sample(2, seed=(1, 2), **at(poses)),
    ):
        calls.clear()
        use()
        assert len(calls) == 1


def test_gradients_of_samples_drawn_outside_the_tape(model, poses):
    images = model.sample(3, seed=(1, 2), **at(poses))
    variable = model.bijector.trainable_variables[3]
    direction, step = RNG.normal(size=variable.shape), 1e-5
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.log_prob(images, **at(poses)))
    gradient = tape.gradient(loss, variable)
    start = variable.numpy()
    losses = []
    for sign in (1, -1):
        variable.assign(start + sign * step * direction)
        losses.append(tf.reduce_sum(model.log_prob(images, **at(poses))))
    np.testing.assert_allclose(np.sum(gradient * direction), (losses[0] - losses[1]) / (2 * step), rtol=1e-5)


def test_graph_mode_matches_eager_mode(model, poses):
    compiled = tf.function(lambda images: model.log_prob(images, **at(poses)), autograph=False)
    np.testing.assert_allclose(compiled(IMAGES), model.log_prob(IMAGES, **at(poses)), rtol=1e-10)


def test_copy_shares_the_flow(model, poses):
    copy = model.copy(name='other')
    assert copy.bijector is model.bijector
    np.testing.assert_array_equal(copy.log_prob(IMAGES, **at(poses)), model.log_prob(IMAGES, **at(poses)))


@pytest.mark.parametrize('kind', ['exchangeable', 'factor'])
def test_gradients_reach_every_weight(kind, flow_settings, randomise):
    model = randomise(build_model(ModelSettings((4, 4, 1), 6, kind, flow_settings, factors=3), num_steps=4))
    images, poses = IMAGES.astype(np.float32), np.eye(6, dtype=np.float32)
    with tf.GradientTape() as tape:
        # All slices take part: every row of the tables per pose is used.
        log_prob = model.log_prob(images, **at(poses[:4])) + model.log_prob(images, **at(poses[2:]))
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(log_prob, model.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.name
        assert np.all(np.isfinite(gradient)), variable.name
        assert np.any(gradient != 0), variable.name


def test_slice_and_model_as_argument_of_a_function(model, poses):
    log_prob = model.log_prob(IMAGES, **at(poses))
    crossed = tf.function(lambda model, images: model.log_prob(images, **at(poses)), autograph=False)(model, IMAGES)
    np.testing.assert_allclose(crossed, log_prob, rtol=1e-10)
    posterior = model.posterior(IMAGES[:, :2], poses[:2], 2)
    assert posterior[1].batch_shape == []
    np.testing.assert_allclose(
        posterior[1].log_prob(IMAGES[1, 2:], **at(poses[2:])),
        posterior.log_prob(IMAGES[:, 2:], **at(poses[2:]))[1],
        rtol=1e-10,
    )


def test_anomaly_score_is_gain_in_log_prob_from_contexts(model, poses):
    score = model.anomaly_score(IMAGES[:, 2:], poses[2:], IMAGES[:, :2], poses[:2])
    assert score.shape == (3, 2)
    one = ConditionalBruno(model.distribution.copy(num_steps=1), model.bijector)
    for k in (2, 3):
        slice_k, pose = IMAGES[:, k : k + 1], poses[k : k + 1]
        # Of images the Jacobian of the flow is in both terms.
        given = one.posterior(IMAGES[:, :2], poses[:2], 1).log_prob(slice_k, **at(pose))
        np.testing.assert_allclose(score[:, k - 2], given - one.log_prob(slice_k, **at(pose)), rtol=1e-8, atol=1e-8)


def test_posterior_with_different_numbers_of_contexts(model, poses):
    is_missing = np.array([[False, False, False], [False, True, False], [True, True, True]])
    images = np.where(is_missing[..., None, None, None], 0.5, IMAGES[:, :3])
    together = model.posterior(images, poses[:3], 1, is_missing=is_missing).mean_image(poses[3:])
    for subject, kept in enumerate(~is_missing):
        alone = model.posterior(IMAGES[subject, :3][kept], poses[:3][kept], 1).mean_image(poses[3:])
        np.testing.assert_allclose(together[subject], alone, atol=1e-9)
    whole = {'distribution_kwargs': {'is_missing': np.array([False, False, True, False])}, **at(poses)}
    three = model.copy(distribution=model.distribution.copy(num_steps=3))
    expected = three.log_prob(IMAGES[:, [0, 1, 3]], **at(poses[[0, 1, 3]]))
    np.testing.assert_allclose(model.log_prob(IMAGES, **whole), expected, rtol=1e-9)


def test_bijector_without_inverse_and_log_det(poses):
    """A bijector of TFP's kind: value and log-determinant come from two calls."""
    shift = tfb.Inline(
        forward_fn=lambda x, conditional_input: tf.reshape(x, [*x.shape[:-1], 2, 2, 1]) * 2.0,
        inverse_fn=lambda y, conditional_input: tf.reshape(y, [*y.shape[:-3], 4]) / 2.0,
        inverse_log_det_jacobian_fn=lambda y, conditional_input: tf.fill(y.shape[:-3], np.float64(-4 * np.log(2.0))),
        forward_event_shape_fn=lambda shape: shape[:-1].concatenate([2, 2, 1]),
        forward_event_shape_tensor_fn=lambda shape: tf.concat([shape[:-1], [2, 2, 1]], 0),
        inverse_event_shape_fn=lambda shape: shape[:-3].concatenate([4]),
        inverse_event_shape_tensor_fn=lambda shape: tf.concat([shape[:-3], [4]], 0),
        forward_min_event_ndims=1,
        inverse_min_event_ndims=3,
    )
    ones = np.ones(4)
    process = ExchangeableStudentTProcess(5 * ones, 0 * ones, ones, 0.5 * ones, num_steps=4)
    images = IMAGES[:, :, :2, :2]
    expected = process.log_prob(images.reshape(3, 4, 4) / 2.0) - 16 * np.log(2.0)
    np.testing.assert_allclose(ConditionalBruno(process, shift).log_prob(images, **at(poses)), expected, rtol=1e-10)


def test_bijector_without_condition(model, poses):
    """With an affine map of TFP as flow, only the process takes the poses."""
    shift = tf.Variable(np.arange(16.0))
    affine = ConditionalBruno(model.distribution, tfb.Shift(shift))
    vectors = RNG.normal(size=(3, 4, 16))
    expected = model.distribution.log_prob(vectors - shift, conditional_input=poses)
    np.testing.assert_allclose(affine.log_prob(vectors, **at(poses)), expected, rtol=1e-10)
    bound = tf.function(lambda poses: affine.at(poses))(poses)
    np.testing.assert_allclose(bound.log_prob(vectors), expected, rtol=1e-10)
    np.testing.assert_allclose(bound.mean(), model.distribution.mean(conditional_input=poses) + shift, rtol=1e-10)
    posterior = affine.posterior(vectors[:, :2], poses[:2], 2)
    given = model.distribution.posterior(vectors[:, :2] - shift, poses[:2], poses=poses[2:])
    np.testing.assert_allclose(posterior.mean_image(poses[2:]), given.mean() + shift, rtol=1e-9)
    scaled = ConditionalBruno(model.distribution, tfb.Scale(np.float64(2.0)))
    expected = model.distribution.log_prob(vectors / 2, conditional_input=poses) - 64 * np.log(2.0)
    np.testing.assert_allclose(scaled.log_prob(vectors, **at(poses)), expected, rtol=1e-10)


def test_parts_that_do_not_fit_are_refused(model, poses):
    size = np.ones(12)
    cases = [
        (
            '`distribution` must be a process.*got Normal',
            lambda: ConditionalBruno(tfd.Normal(np.zeros([4, 16]), 1.0), model.bijector),
        ),
        ('tfb.Chain.*ConditionalChain', lambda: ConditionalBruno(model.distribution, tfb.Chain([model.bijector]))),
        (
            r'events of shape \(4, 12\), but `bijector`',
            lambda: ConditionalBruno(
                ExchangeableStudentTProcess(5 * size, 0 * size, size, 0.5 * size, 4), model.bijector
            ),
        ),
        (
            '`distribution` is float32, but `bijector` is float64',
            lambda: ConditionalBruno(
                ExchangeableStudentTProcess(5 * tf.ones(16), tf.zeros(16), tf.ones(16), 0.5 * tf.ones(16), 4),
                model.bijector,
            ),
        ),
        (
            r'float32 or float64, all the same, got `df` float16',
            lambda: ExchangeableStudentTProcess(*[np.ones(16, np.float16)] * 4, num_steps=4),
        ),
        (
            'images are float16, but the model is float64',
            lambda: model.encode(tf.zeros([4, 4, 4, 1], tf.float16), poses),
        ),
        (
            'images are float32, but the model is float64',
            lambda: model.posterior(tf.zeros([2, 4, 4, 1]), poses[:2], 2),
        ),
        (
            'images are float32, but the model is float64',
            lambda: model.log_prob(tf.zeros([4, 4, 4, 1]), **at(poses)),
        ),
        (r'events must have shape .*\(2, 4, 5, 1\)', lambda: model.posterior(np.zeros([2, 4, 5, 1]), poses[:2], 2)),
        (r'\[\.\.\., n, 16\], got', lambda: model.distribution.posterior(np.zeros([2, 15]), poses[:2], num_steps=2)),
    ]
    for message, use in cases:
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert '\n' not in str(caught.value)
