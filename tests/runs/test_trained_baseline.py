"""A deep baseline loaded from disk matches its network."""

import json
import types

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import write_split
from tfp_bruno.data.encoding import one_hot_poses, to_level_middle
from tfp_bruno.errors import UserError
from tfp_bruno.runs import KINDS, Run, TrainedBaseline, export_model, load, read_run, write_run
from tfp_bruno.runs.kinds import build
from tfp_bruno.training import BoundSettings, TrainingSettings

SMALL = {
    'gqn': {'steps': 2, 'hidden_channels': 4, 'canvas_channels': 2, 'kernel_size': 3},
    'cvae': {'filters': (4, 4, 4, 4), 'latent_size': 3},
}
EYE = np.eye(12, dtype=np.float32)


@pytest.fixture(scope='module', params=['gqn', 'cvae'])
def loaded(request, tmp_path_factory, tiny_definition):
    """A model with random weights loaded from disk, and some subjects."""
    common = {'representation_channels': 8, 'pose_channels': 2, 'pose_encoding': 'fourier', 'centred': True}
    settings = KINDS[request.param].settings((16, 16, 1), 12, **common, **SMALL[request.param])
    training = TrainingSettings(sequence_length=5, seed=3, objective=BoundSettings(last_std=0.2))
    info = RunInfo(None, 'noise', is_phantom=True, phantom_subjects=6, seed=3, preset='cpu')
    run = Run(tmp_path_factory.mktemp('run'), tiny_definition, settings, training, info)
    write_run(run)
    rng = np.random.default_rng(0)
    images = rng.uniform(0.1, 0.9, (4, 12, 16, 16)).astype(np.float32)
    model = build(settings, 5, 3)
    model.initialize(images[..., None], one_hot_poses(np.arange(12), 12))
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.2, variable.shape))
    tf.train.Checkpoint(variables=list(model.variables)).write(str(run.weights))
    return types.SimpleNamespace(model=load(run.folder), images=images, run=run, network=model)


def test_load_returns_the_baseline_of_the_run(loaded):
    found = read_run(loaded.run.folder)
    assert (found.model, found.kind, found.training) == (loaded.run.model, loaded.run.kind, loaded.run.training)
    assert isinstance(loaded.model, TrainedBaseline)
    assert loaded.model.name == f'{loaded.run.kind} (cpu)'
    assert not loaded.model.has_exact_log_prob
    assert (loaded.model.definition, loaded.model.info.data) == (loaded.run.definition, 'noise')
    assert (loaded.model.sampling, loaded.model.temperature) == ({}, 1.0)


def test_baseline_has_temperature_1_only(loaded):
    assert loaded.model.with_temperature(1.0) is loaded.model
    with pytest.raises(UserError) as refused:
        loaded.model.with_temperature(0.8)
    assert str(refused.value) == f'`temperature=0.8`: {loaded.model.name} has none; leave it out.'


def test_an_exported_baseline_has_the_same_weights(loaded, tmp_path):
    write_split(loaded.run.split_file, {'a': 'train', 'b': 'test'})
    path = tmp_path / 'model.safetensors'
    export_model(loaded.run.folder, path)
    found = load(path)
    assert (type(found), found.name) == (TrainedBaseline, loaded.model.name)
    for ours, theirs in zip(found.network.variables, loaded.model.network.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('slices', [[], [4], list(range(9))], ids=len)
def test_predict_and_sample_have_their_shapes(loaded, slices):
    contexts, queries = loaded.images[:2, slices], [0, 5, 6, 11]
    mean = loaded.model.predict(contexts, slices, queries)
    assert (mean.shape, mean.dtype) == ((2, 4, 16, 16), np.float32)
    samples = loaded.model.sample(contexts, slices, queries, 3, seed=1)
    assert (samples.shape, samples.dtype) == ((3, 2, 4, 16, 16), np.float32)
    for images in (mean, samples):
        assert images.min() >= 0.0
        assert images.max() <= 1.0


def test_predict_matches_mean_image_of_the_network(loaded):
    slices, queries = [1, 7], [0, 6, 11]
    contexts = to_level_middle(loaded.images[2:3, slices])[..., None]
    representation = loaded.network.represent(contexts, EYE[None, slices])
    expected = (loaded.network.mean_image(EYE[None, queries], representation).numpy()[..., 0] * 256 - 0.5) / 255
    found = loaded.model.predict(loaded.images[2:3, slices], slices, queries)
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-4)
    there = loaded.model.predict(loaded.images[2:3, slices[::-1]], slices[::-1], queries)
    np.testing.assert_allclose(found, there, atol=1e-4)


def test_seed_determines_the_samples(loaded):
    def draw(seed, number=2):
        return loaded.model.sample(loaded.images[:2, [4]], [4], range(12), number, seed)

    # More than one call draws, which is 13 samples of 12 slices.
    samples = draw(5, 15)
    np.testing.assert_array_equal(samples, draw(5, 15))
    assert np.abs(draw(5) - draw(2**40)).mean() > 1e-3
    noise = samples - samples.mean(0)
    for one, two in ((noise[0], noise[14]), (noise[:, 0], noise[:, 1]), (noise[0], noise[13])):
        assert np.abs(one - two).mean() > 1e-3


def test_log_prob_matches_joint_elbo_of_the_network(loaded):
    slices = [3, 0, 8]
    found = loaded.model.log_prob(loaded.images[:2, slices], slices)
    assert found.shape == (2,)
    images = loaded.images[0, slices][..., None]
    expected = loaded.network.joint_elbo(images, EYE[slices], 0.2, tf.constant([0, 1]))
    assert found[0] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize('change', [('model', 'steps', 'many'), ('model', 'filters', 7), ('training', 'objective', {})])
def test_damaged_settings_name_the_setting(loaded, tmp_path, change):
    section, name, value = change
    values = json.loads(loaded.run.settings_file.read_text())
    values[section][name] = value
    (tmp_path / 'run.json').write_text(json.dumps(values))
    with pytest.raises(UserError, match=rf'run\.json: {section}\.{name}.* train the run again'):
        read_run(tmp_path)


def test_unknown_kind_is_damage(loaded, tmp_path):
    values = json.loads(loaded.run.settings_file.read_text())
    (tmp_path / 'run.json').write_text(json.dumps({**values, 'kind': 'gan'}))
    with pytest.raises(UserError, match=r'run\.json: is damaged'):
        read_run(tmp_path)
