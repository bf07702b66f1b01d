"""A loaded model answers in NumPy, as its `ConditionalBruno` does."""

import dataclasses
import types

import numpy as np
import pytest

import tfp_bruno
from tfp_bruno.data.encoding import from_level_middle, to_level_middle
from tfp_bruno.errors import UserError
from tfp_bruno.runs import TrainedModel, load, write_run


@pytest.fixture(scope='module', params=['factor', 'exchangeable'])
def loaded(request, make_run, make_weights):
    """A model from disk, and subjects like those it was started from."""
    run = make_run(request.param)
    images = make_weights(run)
    return types.SimpleNamespace(model=load(run.folder), images=images, run=run)


def test_what_it_is(loaded):
    assert isinstance(loaded.model, TrainedModel)
    assert loaded.model.definition == loaded.run.definition
    assert loaded.model.name.startswith('bruno (cpu: ')
    assert (loaded.model.info.is_phantom, loaded.model.info.data) == (True, 'noise')
    assert (loaded.model.sampling, loaded.model.temperature) == (loaded.run.model.sampling, 1.0)
    assert loaded.model.has_exact_log_prob
    assert tfp_bruno.load is load


@pytest.mark.parametrize('slices', [[], [4], [10, 1, 7]])
def test_shapes(loaded, slices):
    contexts, queries = loaded.images[:2, slices], [0, 5, 6, 11]
    mean = loaded.model.predict(contexts, slices, queries)
    assert (mean.shape, mean.dtype) == ((2, 4, 16, 16), np.float32)
    samples = loaded.model.sample(contexts, slices, queries, 3, seed=1)
    assert (samples.shape, samples.dtype) == ((3, 2, 4, 16, 16), np.float32)
    for images in (mean, samples):
        assert np.isfinite(images).all()
        assert images.min() >= 0.0
        assert images.max() <= 1.0


def test_without_contexts_all_subjects_are_alike(loaded):
    prior = loaded.model.predict(np.zeros((2, 0, 16, 16)), np.zeros(0, int), [3, 8])
    np.testing.assert_array_equal(prior[0], prior[1])
    given = loaded.model.predict(loaded.images[:2, [4]], [4], [3, 8])
    assert np.abs(given[0] - given[1]).max() > 0.01


def test_contexts_tell_how_bright_a_subject_is(loaded):
    given = loaded.model.predict(loaded.images[:, [1, 4, 7, 10]], [1, 4, 7, 10], [2, 5, 8])
    truth = loaded.images.mean((1, 2, 3))
    assert np.corrcoef(given.mean((1, 2, 3)), truth)[0, 1] > 0.95


def test_the_seed_decides_the_samples(loaded):
    def draw(seed):
        return loaded.model.sample(loaded.images[:2, [4]], [4], [5, 6], 2, seed)

    np.testing.assert_array_equal(draw(5), draw(5))
    assert np.abs(draw(5) - draw(6)).mean() > 1e-3
    samples = draw(2**40 + 1)
    # Neither two samples nor two subjects share their noise.
    assert np.abs(samples[0] - samples[1]).mean() > 1e-3
    noise = samples - samples.mean(0)
    assert np.abs(noise[:, 0] - noise[:, 1]).mean() > 1e-3


def test_the_order_of_the_contexts_does_not_matter(loaded):
    there = loaded.model.predict(loaded.images[:1, [2, 9]], [2, 9], [5])
    back = loaded.model.predict(loaded.images[:1, [9, 2]], [9, 2], [5])
    np.testing.assert_allclose(there, back, atol=1e-4)


def test_the_mean_image_is_that_of_the_model(loaded):
    bruno, slices, queries = loaded.model.bruno, [1, 7], [0, 6, 11]
    poses = np.eye(12, dtype=np.float32)
    contexts = (loaded.images[2, slices][..., None] * 255 + 0.5) / 256
    posterior = bruno.posterior(contexts, poses[slices], 3)
    expected = (posterior.mean_image(poses[queries]).numpy()[..., 0] * 256 - 0.5) / 255
    found = loaded.model.predict(loaded.images[2:3, slices], slices, queries)[0]
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-4)


def test_log_prob_is_that_of_the_model(loaded):
    bruno, poses = loaded.model.bruno, np.eye(12, dtype=np.float32)
    slices = [3, 0, 8, 11, 5]
    images = to_level_middle(loaded.images[:3, slices])
    found = loaded.model.log_prob(images, slices)
    batch = np.broadcast_to(poses[slices], (3, 5, 12))
    expected = bruno.log_prob(images[..., None], bijector_kwargs={'conditional_input': batch})
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Slices are worth the same in any order, and another number of them has a density, too.
    np.testing.assert_allclose(loaded.model.log_prob(images[:, ::-1], slices[::-1]), found, rtol=1e-4)
    assert np.isfinite(loaded.model.log_prob(images[:, :2], slices[:2])).all()
    assert (loaded.model.log_prob(images[:, [1, 0, 2, 3, 4]], slices) != found).all()


def test_decoding_undoes_the_grey_levels(loaded):
    np.testing.assert_allclose(from_level_middle(to_level_middle(loaded.images)), loaded.images, atol=1e-6)


def assert_one_line(error, *words):
    text = str(error.value)
    assert '\n' not in text
    assert all(word in text for word in words)


def test_missing_weights(make_run):
    run = make_run()
    with pytest.raises(UserError) as caught:
        load(run.folder)
    assert_one_line(caught, str(run.weights), 'cannot be restored', '--resume')


def test_damaged_weights(make_run, make_weights):
    run = make_run()
    make_weights(run)
    [part] = run.weights.parent.glob('model.data-*')
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(UserError) as caught:
        load(run.folder)
    assert_one_line(caught, str(run.weights), 'cannot be restored')


def test_weights_of_another_model(make_run, make_weights):
    run, other = make_run('factor'), make_run('exchangeable')
    make_weights(run)
    run.weights.parent.rename(other.weights.parent)
    with pytest.raises(UserError) as caught:
        load(other.folder)
    assert_one_line(caught, str(other.weights), 'cannot be restored')


def test_temperature_scales_what_samples_deviate_by(loaded):
    def latents(temperature):
        model = loaded.model.with_temperature(temperature)
        drawn = to_level_middle(model.sample(loaded.images[:1, [4]], [4], [5, 6], 3, seed=2))[:, 0]
        return model.bruno.encode(drawn[..., None], model.poses([5, 6]))[0].numpy()

    mean = latents(0.0)
    np.testing.assert_allclose(mean, np.broadcast_to(mean[:1], mean.shape), atol=1e-4)
    full, half = latents(1.0), latents(0.5)
    # But where the images were clipped to [0, 1].
    assert np.quantile(np.abs((half - mean) - 0.5 * (full - mean)), 0.9) < 0.02
    assert np.abs(full - mean).mean() > 0.1


def test_samples_are_as_wide_as_the_run_says(make_run, make_weights):
    run = make_run('factor')
    images = make_weights(run)
    sampling = {'narrows_factors': False, 'factor_scale': 1.5, 'factor_evidence': 0.5}
    settings = dataclasses.replace(run.model, df=20.0, **sampling)
    wide = dataclasses.replace(run, model=settings)
    write_run(wide)
    make_weights(wide)
    wide = load(run.folder)
    narrow = TrainedModel(wide.bruno, run.definition, 'narrow', {})
    assert (wide.sampling, narrow.sampling) == (sampling, {})
    drawn = [model.sample(images[:1, [4]], [4], [5, 6], 4, seed=2) for model in (wide, narrow)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3
    # Without contexts there is nothing to narrow by, and no evidence.
    wide.sampling['factor_scale'] = 1.0
    wide = wide.with_temperature(1.0)
    drawn = [model.sample(images[:1, []], [], [5, 6], 4, seed=2) for model in (wide, narrow)]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-5)
