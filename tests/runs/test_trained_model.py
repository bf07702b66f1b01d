"""A loaded model gives the same results in NumPy as its `ConditionalBruno`."""

import dataclasses
import types

import numpy as np
import pytest

import tfp_bruno
from tfp_bruno.data.encoding import to_level_middle
from tfp_bruno.runs import TrainedModel, load, write_run


@pytest.fixture(scope='module', params=['factor', pytest.param('exchangeable', marks=pytest.mark.slow)])
def loaded(request, make_run, make_weights):
    """A model loaded from disk, and the subjects that it was fitted to."""
    run = make_run(request.param)
    images = make_weights(run)
    return types.SimpleNamespace(model=load(run.folder), images=images, run=run)


def test_load_returns_the_model_of_the_run(loaded):
    assert isinstance(loaded.model, TrainedModel)
    assert loaded.model.definition == loaded.run.definition
    assert loaded.model.name.startswith('bruno (cpu: ')
    assert (loaded.model.info.is_phantom, loaded.model.info.data) == (True, 'noise')
    assert (loaded.model.sampling, loaded.model.temperature) == (loaded.run.model.sampling, 1.0)
    assert loaded.model.has_exact_log_prob
    assert tfp_bruno.load is load


@pytest.mark.slow
@pytest.mark.parametrize('slices', [[], [4], [10, 1, 7]])
def test_predict_and_sample_have_their_shapes(loaded, slices):
    contexts, queries = loaded.images[:2, slices], [0, 5, 6, 11]
    mean = loaded.model.predict(contexts, slices, queries)
    assert (mean.shape, mean.dtype) == ((2, 4, 16, 16), np.float32)
    samples = loaded.model.sample(contexts, slices, queries, 3, seed=1)
    assert (samples.shape, samples.dtype) == ((3, 2, 4, 16, 16), np.float32)
    for images in (mean, samples):
        assert np.isfinite(images).all()
        assert images.min() >= 0.0
        assert images.max() <= 1.0


@pytest.mark.slow
def test_prediction_without_contexts_is_the_same_for_all_subjects(loaded):
    prior = loaded.model.predict(np.zeros((2, 0, 16, 16)), np.zeros(0, int), [3, 8])
    np.testing.assert_array_equal(prior[0], prior[1])
    given = loaded.model.predict(loaded.images[:2, [4]], [4], [3, 8])
    assert np.abs(given[0] - given[1]).max() > 0.01


def test_contexts_determine_the_brightness_of_a_subject(loaded):
    given = loaded.model.predict(loaded.images[:, [1, 4, 7, 10]], [1, 4, 7, 10], [2, 5, 8])
    truth = loaded.images.mean((1, 2, 3))
    assert np.corrcoef(given.mean((1, 2, 3)), truth)[0, 1] > 0.95


def test_seed_determines_the_samples(loaded):
    def draw(seed):
        return loaded.model.sample(loaded.images[:2, [4]], [4], [5, 6], 2, seed)

    np.testing.assert_array_equal(draw(5), draw(5))
    assert np.abs(draw(5) - draw(6)).mean() > 1e-3
    samples = draw(2**40 + 1)
    # The noise differs between samples and between subjects.
    assert np.abs(samples[0] - samples[1]).mean() > 1e-3
    noise = samples - samples.mean(0)
    assert np.abs(noise[:, 0] - noise[:, 1]).mean() > 1e-3


def test_predict_does_not_depend_on_the_order_of_contexts(loaded):
    there = loaded.model.predict(loaded.images[:1, [2, 9]], [2, 9], [5])
    back = loaded.model.predict(loaded.images[:1, [9, 2]], [9, 2], [5])
    np.testing.assert_allclose(there, back, atol=1e-4)


def test_predict_matches_mean_image_of_the_model(loaded):
    bruno, slices, queries = loaded.model.bruno, [1, 7], [0, 6, 11]
    poses = np.eye(12, dtype=np.float32)
    contexts = (loaded.images[2, slices][..., None] * 255 + 0.5) / 256
    posterior = bruno.posterior(contexts, poses[slices], 3)
    expected = (posterior.mean_image(poses[queries]).numpy()[..., 0] * 256 - 0.5) / 255
    found = loaded.model.predict(loaded.images[2:3, slices], slices, queries)[0]
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-4)


@pytest.mark.slow
def test_log_prob_matches_the_model(loaded):
    bruno, poses = loaded.model.bruno, np.eye(12, dtype=np.float32)
    slices = [3, 0, 8, 11, 5]
    images = to_level_middle(loaded.images[:3, slices])
    found = loaded.model.log_prob(images, slices)
    batch = np.broadcast_to(poses[slices], (3, 5, 12))
    expected = bruno.log_prob(images[..., None], bijector_kwargs={'conditional_input': batch})
    assert found.shape == (3,)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # The order of slices does not matter, and another number of them has a density, too.
    np.testing.assert_allclose(loaded.model.log_prob(images[:, ::-1], slices[::-1]), found, rtol=1e-4)
    assert np.isfinite(loaded.model.log_prob(images[:, :2], slices[:2])).all()
    assert (loaded.model.log_prob(images[:, [1, 0, 2, 3, 4]], slices) != found).all()


@pytest.mark.slow
def test_temperature_scales_the_deviations_of_samples(loaded):
    def latents(temperature):
        model = loaded.model.with_temperature(temperature)
        drawn = to_level_middle(model.sample(loaded.images[:1, [4]], [4], [5, 6], 3, seed=2))[:, 0]
        return model.bruno.encode(drawn[..., None], np.eye(12, dtype=np.float32)[[5, 6]])[0].numpy()

    mean = latents(0.0)
    np.testing.assert_allclose(mean, np.broadcast_to(mean[:1], mean.shape), atol=1e-4)
    full, half = latents(1.0), latents(0.5)
    # Except where the images are clipped to [0, 1].
    assert np.quantile(np.abs((half - mean) - 0.5 * (full - mean)), 0.9) < 0.02
    assert np.abs(full - mean).mean() > 0.1


@pytest.mark.slow
def test_sampling_settings_change_the_width_of_samples(make_run, make_weights):
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
    # Without contexts, there is no evidence and nothing narrows the factors.
    wide.sampling['factor_scale'] = 1.0
    wide = wide.with_temperature(1.0)
    drawn = [model.sample(images[:1, []], [], [5, 6], 4, seed=2) for model in (wide, narrow)]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-5)
