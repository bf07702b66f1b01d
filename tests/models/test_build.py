"""Models built from settings, and settings as JSON."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfp_bruno.bijectors import RealNVPSettings
from tfp_bruno.models import AffinePoses, DisplacedPoses, ModelSettings, OneHotPoses, build_model
from tfp_bruno.settings import structure

POSES = np.eye(6, dtype=np.float32)[:4]
KWARGS = {'bijector_kwargs': {'conditional_input': POSES}}


KINDS = [
    ('average', None),
    ('exchangeable', 7.0),
    ('exchangeable', None),
    ('pose', 7.0),
    ('pose', None),
    ('factor', 7.0),
    ('factor', None),
]


@pytest.fixture(params=KINDS, ids=lambda kind: f'{kind[0]} {"Student-t" if kind[1] else "Gaussian"}')
def settings(request, flow_settings):
    process, df = request.param
    return ModelSettings((4, 4, 1), 6, process, flow_settings, factors=3, df=df, correlation=0.25)


def test_settings_round_trip_through_json(settings):
    assert structure(ModelSettings, json.loads(json.dumps(dataclasses.asdict(settings))), 'run.json') == settings


def test_settings_of_another_flow_round_trip_through_json():
    flow = RealNVPSettings(scales=2, filters=8)
    settings = ModelSettings((4, 4, 1), 6, 'pose', flow=flow, network_dtype='mixed_bfloat16')
    values = json.loads(json.dumps(dataclasses.asdict(settings)))
    assert values['flow']['architecture'] == 'real_nvp'
    assert structure(ModelSettings, values, 'run.json') == settings


@pytest.mark.parametrize(
    ('pose', 'size'), [(OneHotPoses(), 6), (AffinePoses(pixel_size=0.5), 12), (DisplacedPoses(4, (-0.25, 0.25)), 60)]
)
def test_settings_of_poses_round_trip_through_json(pose, size):
    latents = 'flow' if isinstance(pose, OneHotPoses) else 'frequencies'
    settings = ModelSettings((8, 8, 1), 6, pose=pose, latents=latents)
    assert settings.pose_size == size
    values = json.loads(json.dumps(dataclasses.asdict(settings)))
    assert structure(ModelSettings, values, 'run.json', complete=True) == settings


def test_image_shape_must_fit_the_flow():
    with pytest.raises(ValueError, match=r'`image_shape` \[6, 6, 1\] must be divisible by 4'):
        ModelSettings((6, 6, 1), 6, 'pose', flow=RealNVPSettings())


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('process', 'gaussian'),
        ('kernel', 'linear'),
        ('df', 2.0),
        ('factors', 0),
        ('factors', 2.5),
        ('factor_scale', 0.0),
        ('factor_scale', np.nan),
        ('factor_evidence', 0.0),
        ('factor_evidence', 2.0),
    ],
)
def test_bad_settings_name_the_setting(name, value):
    with pytest.raises(ValueError, match=name):
        ModelSettings((4, 4, 1), 6, **{name: value})


def test_average_must_be_gaussian():
    with pytest.raises(ValueError, match=r'`df` must be None for an average'):
        ModelSettings((4, 4, 1), 6, 'average', df=5.0)


@pytest.mark.parametrize('process', ['factor', 'pose'])
def test_only_a_factor_process_has_sampling_settings(process, flow_settings):
    widths = {'factor_scale': 2.0, 'factor_evidence': 0.5}
    sampling = ModelSettings((4, 4, 1), 6, process, flow=flow_settings, **widths).sampling
    wanted = {'narrows_factors': True, **widths}
    assert sampling == (wanted if process == 'factor' else {})


def test_build_model_applies_the_settings(settings):
    model = build_model(settings, num_steps=4)
    assert model.event_shape == [4, 4, 4, 1]
    assert model.bijector.settings == settings.flow
    process = model.distribution
    assert settings.process.capitalize() in type(process).__name__ or settings.process == 'average'
    assert ('StudentT' in type(process).__name__) == (settings.df is not None)
    if settings.df is not None:
        np.testing.assert_allclose(process.df, np.full(process.df.shape, 7.0), rtol=1e-5)
    if settings.process in ('exchangeable', 'pose'):
        np.testing.assert_allclose(process.correlation, np.full(16, 0.25), rtol=1e-5)
    np.testing.assert_allclose(process.variance(conditional_input=POSES), np.ones((4, 16)), rtol=1e-5)


def test_trainable_variables_of_each_process(settings):
    process = build_model(settings, num_steps=4).distribution
    expected = {'average': 2, 'exchangeable': 3, 'pose': 5, 'factor': 0}[settings.process]
    if settings.df is not None and expected:
        expected += 1
    assert len(process.trainable_variables) == expected
    if settings.process == 'factor':
        # Fitted to the data in closed form, not trained.
        assert process.loadings.shape == (6, 16, 3)
        assert len(process.variables) == 5 + (settings.df is not None)


def test_variables_of_a_process_have_a_fixed_order(settings):
    """Weights are stored by position: in another order, the mean would be loaded as a variance."""
    process = build_model(settings, num_steps=4).distribution
    names = [variable.name.split(':')[0] for variable in process.variables]
    order = ['constant_share', 'correlation', 'df', 'length_scale', 'loadings', 'loc']
    order += ['marginal_variance', 'residual_variance']
    assert names == [name for name in order if name in names]


def test_average_predicts_the_mean_of_its_contexts(flow_settings):
    process = build_model(ModelSettings((4, 4, 1), 6, 'average', flow=flow_settings), 4).distribution
    z = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    np.testing.assert_allclose(process.posterior(z, num_steps=1).mean()[0], z.mean(0), atol=2e-3)


def test_kernel_decays_with_the_distance_between_slices(flow_settings):
    settings = ModelSettings((4, 4, 1), 6, 'factor', flow=flow_settings, length=2.0)
    poses = np.eye(6, dtype=np.float32)
    distance = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    matrix = build_model(settings, 4).distribution.kernel.matrix(poses, poses)
    np.testing.assert_allclose(matrix, np.exp(-distance / 2.0), rtol=1e-5)


@pytest.mark.slow
def test_seed_determines_the_weights(settings):
    weights = [[variable.numpy() for variable in build_model(settings, 4, seed).variables] for seed in (1, 1, 2)]
    for first, same in zip(*weights[:2], strict=True):
        np.testing.assert_array_equal(first, same)
    assert any(np.any(first != other) for first, other in zip(weights[0], weights[2], strict=True))


@pytest.mark.slow
def test_seed_determines_the_weights_whatever_was_seeded_before(settings):
    weights = []
    for before in (3, 4):
        tf_keras.utils.set_random_seed(before)
        weights.append([variable.numpy() for variable in build_model(settings, 4, seed=1).variables])
    for first, same in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, same)


@pytest.mark.slow
def test_checkpoint_round_trip(settings, randomise, tmp_path):
    # Permutations and signs of the 1 x 1 convolutions, which depend on the seed, are stored with the weights.
    model, other = randomise(build_model(settings, 4, seed=1)), build_model(settings, 4, seed=2)
    images = model.sample(2, seed=(1, 2), **KWARGS)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / 'model'))
    tf.train.Checkpoint(model=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other.log_prob(images, **KWARGS), model.log_prob(images, **KWARGS))


@pytest.mark.slow
def test_copies_with_other_numbers_of_slices_share_weights(settings, randomise):
    model = randomise(build_model(settings, 4))
    images = model.sample(seed=(1, 2), **KWARGS)
    fewer = model.copy(distribution=model.distribution.copy(num_steps=2))
    log_prob = fewer.log_prob(images[:2], bijector_kwargs={'conditional_input': POSES[:2]})
    rest = fewer.posterior(images[:2], POSES[:2], 2).log_prob(
        images[2:], bijector_kwargs={'conditional_input': POSES[2:]}
    )
    np.testing.assert_allclose(log_prob + rest, model.log_prob(images, **KWARGS), rtol=1e-4, atol=1e-3)


def test_settings_are_frozen(settings):
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.df = 3.0
