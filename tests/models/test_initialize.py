"""The start of training: the moments of the data, by NumPy."""

import dataclasses

import numpy as np
import pytest
import scipy.special
from scipy import ndimage

from tfp_bruno.bijectors import GlowSettings, RealNVPSettings
from tfp_bruno.models import ModelSettings, StartSettings, build_model, initialize_model

SUBJECTS, SLICES, SIDE = 30, 9, 4
POSES = np.eye(SLICES, dtype=np.float32)


def make_images(seed=0, num_slices=SLICES):
    """Subjects that differ in two smooth patterns, and noise."""
    rng = np.random.default_rng(seed)
    shape = (num_slices, SIDE, SIDE, 1)
    patterns = np.random.default_rng(7).normal(size=(3, *shape))
    logits = 0.5 * patterns[0] + np.einsum('sp,p...->s...', rng.normal(size=(SUBJECTS, 2)), 0.7 * patterns[1:])
    logits += 0.2 * rng.normal(size=(SUBJECTS, *shape))
    return (scipy.special.expit(logits) * 0.9 + 0.05).astype(np.float32)


def flow_logits(images):
    """The logit of the flow, with its margin of 0.2."""
    return scipy.special.logit(0.8 * images.astype(np.float64) + 0.1)


def linear_latents(model, logits, about=None):
    """The latent vectors of standardised logits `[S, K, ...]` in the flow without couplings, less that of zero."""
    flat = logits.reshape(-1, SIDE, SIDE, 1).astype(np.float32)
    latents = model.bijector.without_couplings(flat).numpy()
    centre = model.bijector.without_couplings(0 * flat[:1]).numpy() if about is None else about
    return (latents - centre).reshape(*logits.shape[:2], -1)


def settings_of(process, flow_settings, num_slices=SLICES, df=None):
    return ModelSettings((SIDE, SIDE, 1), num_slices, process, flow_settings, factors=4, df=df)


@pytest.fixture(params=['exchangeable', 'pose', 'factor'])
def model(request, flow_settings):
    return build_model(settings_of(request.param, flow_settings, df=20.0), num_steps=SLICES)


def test_mean_image_is_the_mean_of_the_training_images(model):
    images = make_images()
    initialize_model(model, images, POSES)
    mean = flow_logits(images).mean(0)
    np.testing.assert_allclose(flow_logits(model.mean_image(POSES).numpy()), mean, atol=1e-4)
    np.testing.assert_allclose(model.mean_image(POSES), images.mean(0), atol=0.03)


def test_mean_image_ignores_augmented_copies(flow_settings):
    images, copies = make_images(), make_images(seed=1)[:20]
    subjects = np.concatenate([np.arange(len(images)), np.arange(20)])
    # Their order does not matter, beyond that the subjects as they are come first.
    order = np.concatenate([np.random.default_rng(2).permutation(len(images)), len(images) + np.arange(20)])
    model = build_model(settings_of('factor', flow_settings), num_steps=SLICES)
    initialize_model(model, np.concatenate([images, copies])[order], POSES, subjects=subjects[order])
    mean = flow_logits(images).mean(0)
    np.testing.assert_allclose(flow_logits(model.mean_image(POSES).numpy()), mean, atol=1e-4)


def test_half_precision_matches_float32(flow_settings):
    models = [build_model(settings_of('factor', flow_settings), num_steps=SLICES) for _ in range(2)]
    for model, dtype in zip(models, (np.float32, np.float16), strict=True):
        initialize_model(model, make_images().astype(dtype), POSES)
    images = [flow_logits(model.mean_image(POSES).numpy()) for model in models]
    np.testing.assert_allclose(*images, atol=1e-3)
    for name in ('residual_variance', 'correlation'):
        np.testing.assert_allclose(*[model.distribution.parameters[name] for model in models], rtol=5e-3)
    # Components may change signs, and those of equal size may rotate.
    loadings = [model.distribution.loadings.numpy().reshape(-1, 4) for model in models]
    shared = [each @ each.T for each in loadings]
    np.testing.assert_allclose(*shared, atol=0.01 * np.abs(shared[0]).max())


@pytest.mark.parametrize('overwrite', [False, True])
def test_overwrite_images(overwrite, flow_settings):
    models = [build_model(settings_of('factor', flow_settings), num_steps=SLICES) for _ in range(2)]
    images, kept = make_images(), make_images()
    initialize_model(models[0], images, POSES, overwrite_images=overwrite)
    initialize_model(models[1], kept, POSES)
    np.testing.assert_array_equal(kept, make_images())
    assert np.array_equal(images, kept) != overwrite
    for first, second in zip(models[0].variables, models[1].variables, strict=True):
        np.testing.assert_array_equal(first, second)


def test_initialize_raises_log_prob_of_unseen_subjects(model):
    unseen = make_images(seed=1)
    kwargs = {'bijector_kwargs': {'conditional_input': POSES}}
    before = model.log_prob(unseen, **kwargs).numpy().mean()
    initialize_model(model, make_images(), POSES)
    after = model.log_prob(unseen, **kwargs).numpy().mean()
    assert after > before + 20.0


def test_context_reduces_prediction_error(model):
    unseen = make_images(seed=1)
    initialize_model(model, make_images(), POSES)
    errors = []
    for contexts in ([], [2, 6]):
        posterior = model.posterior(unseen[:, contexts], POSES[contexts], SLICES)
        errors.append(np.mean((posterior.mean_image(POSES).numpy() - unseen)[:, [1, 4, 8]] ** 2))
    if model.distribution.name.startswith('Factor'):
        assert errors[1] < 0.3 * errors[0]
    else:
        # An exchangeable process does not carry over patterns that differ from slice to slice.
        assert errors[1] < 1.1 * errors[0]


def test_exchangeable_parameters_are_moments(flow_settings):
    settings = settings_of('exchangeable', flow_settings)
    model = build_model(settings, SLICES)
    images = make_images()
    initialize_model(model, images, POSES, StartSettings(pixel_share=1.0))
    logits = flow_logits(images)
    logits -= logits.mean(0)
    logits /= np.sqrt((logits**2).mean(0) + 1e-2)
    # Every second slice.
    latents = linear_latents(model, logits[:, ::2])
    np.testing.assert_allclose(model.distribution.loc, linear_latents(model, 0 * logits, about=0)[0, 0], atol=1e-6)
    variance = (latents**2).mean((0, 1))
    products = sum((latents[:, i] * latents[:, j]).mean(0) for i in range(5) for j in range(5) if i != j) / 20
    np.testing.assert_allclose(model.distribution.variance()[0], variance, rtol=1e-3)
    expected = np.clip(products / variance, 0.02, 0.95)
    np.testing.assert_allclose(model.distribution.correlation, expected, rtol=1e-3, atol=1e-4)


def test_factor_loadings_are_principal_components(flow_settings):
    settings = settings_of('factor', flow_settings)
    model = build_model(settings, SLICES)
    images = make_images()
    initialize_model(model, images, POSES, StartSettings(pixel_share=1.0))
    logits = flow_logits(images)
    logits -= logits.mean(0)
    logits /= np.sqrt((logits**2).mean(0) + 1e-2)
    _, singular, axes = np.linalg.svd(logits.reshape(SUBJECTS, -1), full_matrices=False)
    # In the latent space, where the normalisations after the affine map scale them.
    axes = linear_latents(model, axes[:4].reshape(4, *logits.shape[1:])).reshape(4, -1)
    expected = axes.T * (singular[:4] ** 2 / SUBJECTS) @ axes
    loadings = model.distribution.loadings.numpy().reshape(-1, 4)
    np.testing.assert_allclose(loadings @ loadings.T, expected, atol=1e-3)
    assert np.all(model.distribution.residual_variance.numpy() > 0)


def test_inflation_scales_the_residual_alone(flow_settings):
    models = []
    for inflation in (1.0, 3.0):
        models.append(build_model(settings_of('factor', flow_settings), SLICES))
        initialize_model(models[-1], make_images(), POSES, StartSettings(inflation=inflation))
    one, three = (model.distribution.parameters for model in models)
    np.testing.assert_allclose(three['residual_variance'], 3.0 * one['residual_variance'].numpy(), rtol=1e-5)
    np.testing.assert_array_equal(three['loadings'], one['loadings'])


@pytest.mark.parametrize('num_slices', [3, 5])
def test_initialize_short_stacks(flow_settings, num_slices):
    images, poses = make_images(num_slices=num_slices), np.eye(num_slices, dtype=np.float32)
    for kind in ('average', 'exchangeable', 'pose', 'factor'):
        model = build_model(settings_of(kind, flow_settings, num_slices), num_slices)
        initialize_model(model, images, poses)
        log_prob = model.log_prob(images, bijector_kwargs={'conditional_input': poses})
        assert np.all(np.isfinite(log_prob))


REAL_NVP = RealNVPSettings(scales=2, filters=6, num_blocks=1, dense_couplings=1, dense_units=8, pose_units=5, alpha=0.2)


@pytest.mark.slow
@pytest.mark.parametrize('process', ['exchangeable', 'pose'])
def test_flow_without_affine_map_uses_its_latents(process):
    model = build_model(settings_of(process, REAL_NVP, df=20.0), num_steps=SLICES)
    images = make_images()
    initialize_model(model, images, POSES)
    latents = model.encode(images[:, ::2], POSES[::2])[0].numpy()
    np.testing.assert_allclose(model.distribution.loc, latents.mean((0, 1)), rtol=1e-3, atol=1e-4)
    at = {'conditional_input': POSES} if process == 'pose' else {}
    np.testing.assert_allclose(model.distribution.variance(**at)[0], latents.var((0, 1)), rtol=1e-3)
    # The networks have started, too, each layer at variance 1.
    network = next(part for part in model.bijector.submodules if hasattr(part, 'trunk'))
    assert network.is_initialized.numpy()


def test_a_factor_process_needs_an_affine_map():
    with pytest.raises(ValueError, match=r'the real_nvp flow takes only with `pose_affine=True`'):
        settings_of('factor', REAL_NVP)
    settings = settings_of('factor', dataclasses.replace(REAL_NVP, pose_affine=True))
    model = build_model(settings, num_steps=SLICES)
    initialize_model(model, make_images(), POSES)
    mean = flow_logits(make_images()).mean(0)
    np.testing.assert_allclose(flow_logits(model.mean_image(POSES).numpy()), mean, atol=1e-4)


def smooth_images(sigma, seed):
    """Subjects `[S, K, H, W, 1]` whose logits are smooth noise, stronger from left to right."""
    noise = np.random.default_rng(seed).normal(size=(60, SLICES, 16, 16))
    noise = ndimage.gaussian_filter(noise, (0, 0, sigma, sigma), mode='wrap')
    logits = noise / noise.std() * np.linspace(0.2, 1.0, 16)
    return (scipy.special.expit(logits) * 0.9 + 0.05).astype(np.float32)[..., None]


@pytest.mark.slow
def test_residual_of_frequencies_has_texture_and_strength_of_the_data_at_every_pixel():
    flow = GlowSettings(first_squeeze=2, couplings=(1, 1), filters=(8, 8), dense_couplings=1, dense_units=16)
    deviations = {}
    for latents in ('frequencies', 'pixels'):
        settings = ModelSettings((16, 16, 1), SLICES, 'factor', flow, latents=latents, factors=2)
        model = build_model(settings, num_steps=SLICES)
        images = smooth_images(1.5, 0)
        initialize_model(model, images.copy(), POSES, StartSettings(smoothing=1e-4, pixel_share=1.0))
        drawn = model.at(POSES).sample(60, seed=(1, 2)).numpy()
        deviations[latents] = [flow_logits(np.clip(each, 0.01, 0.99))[..., 0] for each in (drawn, images)]
    for drawn, data in deviations.values():
        np.testing.assert_allclose(drawn.std((0, 1, 2)), data.std((0, 1, 2)), rtol=0.25)
    # Correlation of neighbouring pixels.
    close = {
        latents: [np.corrcoef(each[..., 8].ravel(), each[..., 9].ravel())[0, 1] for each in found]
        for latents, found in deviations.items()
    }
    np.testing.assert_allclose(*close['frequencies'], atol=0.06)
    assert close['pixels'][0] < 0.5 * close['pixels'][1]
