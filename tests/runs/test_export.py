"""An exported file is the model of its run: the same weights, densities, means and samples."""

import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest
import safetensors.numpy

from tfp_bruno.data import write_split
from tfp_bruno.errors import UserError
from tfp_bruno.runs import export_model, load, read_card, read_run

SPLITS = {'sub-1': 'train', 'sub-2': 'train', 'sub-3': 'validation', 'sub-4': 'test'}
CONTEXTS, QUERIES = [4, 9], [0, 5, 11]


@pytest.fixture(
    scope='module',
    params=[
        ('factor', True),
        # Of an earlier version, whose weights hold loadings that are not rounded.
        pytest.param(('factor', False), marks=pytest.mark.slow),
        pytest.param(('exchangeable', True), marks=pytest.mark.slow),
    ],
    ids=['factor', 'earlier', 'exchangeable'],
)
def exported(request, make_run, make_weights, tmp_path_factory):
    """A run, its model, its subjects, and its exported file."""
    process, with_file = request.param
    run = make_run(process)
    images = make_weights(run, with_file)
    write_split(run.split_file, SPLITS)
    run.learning_curve.write_text('{"step": 2, "seconds": 3.0, "train/loss": 1.5}\n')
    path = tmp_path_factory.mktemp('exported') / 'model.safetensors'
    export_model(run.folder, path, 'SSIM is high.', 'CC BY 4.0')
    tolerance = 0.0 if (process, with_file) != ('factor', False) else 0.003
    return types.SimpleNamespace(run=run, path=path, images=images, model=load(run.folder), tolerance=tolerance)


@pytest.mark.slow
def test_load_of_a_file_is_the_model_of_the_run(exported):
    found, model, images = load(exported.path), exported.model, exported.images
    assert (type(found), found.name, found.definition) == (type(model), model.name, model.definition)
    contexts = images[:2, CONTEXTS]
    pairs = [
        (found.predict(contexts, CONTEXTS, QUERIES), model.predict(contexts, CONTEXTS, QUERIES)),
        (found.sample(contexts, CONTEXTS, QUERIES, 3, 5), model.sample(contexts, CONTEXTS, QUERIES, 3, 5)),
        # Nats per pixel.
        (found.log_prob(images[:2], range(12)) / 3072, model.log_prob(images[:2], range(12)) / 3072),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=exported.tolerance)


def test_load_of_a_file_has_the_description_of_the_run(exported):
    found, info = load(exported.path).info, exported.model.info
    changed = {'split': SPLITS, 'split_file': str(exported.path), 'weights': found.weights}
    assert found == dataclasses.replace(info, **changed)
    assert len(found.weights) == 64


def test_file_depends_on_nothing_else(exported, tmp_path):
    moved = tmp_path / 'other.safetensors'
    moved.write_bytes(exported.path.read_bytes())
    aside = exported.run.folder.rename(tmp_path / 'aside')
    try:
        assert load(moved).info.split == SPLITS
    finally:
        aside.rename(exported.run.folder)


def test_file_holds_arrays_and_texts_alone(exported):
    arrays = safetensors.numpy.load_file(exported.path)
    count = sum(variable.shape.num_elements() for variable in exported.model.bruno.variables)
    if exported.run.model.process == 'factor':
        count -= 12 * 256 * 2
        assert {'loadings.step', 'loadings.sizes', 'loadings.bytes'} <= arrays.keys()
    assert sum(values.size for name, values in arrays.items() if name.startswith('weights.')) == count
    with safetensors.safe_open(exported.path, framework='np') as file:
        texts = file.metadata()
    assert json.loads(texts['run.json']) == json.loads(exported.run.settings_file.read_text())
    assert json.loads(texts['split.json']) == SPLITS
    assert texts['learning_curve.jsonl'] == exported.run.learning_curve.read_text()


def test_read_card_returns_the_card(exported):
    card = read_card(exported.path)
    assert card.startswith('# Model card: fetal, bruno (cpu)\n')
    for line in ('- Licence: CC BY 4.0', '- Train subjects: 2', 'SSIM is high.', '- Last train/loss: 1.5000'):
        assert f'\n{line}\n' in card


@pytest.mark.slow
def test_export_without_a_split_names_it(make_run, make_weights, tmp_path):
    run = make_run()
    make_weights(run, with_file=True)
    with pytest.raises(UserError) as caught:
        export_model(run.folder, tmp_path / 'model.safetensors')
    assert str(caught.value).startswith(f'{run.split_file}: ')
    assert not list(tmp_path.iterdir())


def test_export_with_a_damaged_curve_names_it(make_run, make_weights, tmp_path):
    run = make_run()
    make_weights(run, with_file=True)
    write_split(run.split_file, SPLITS)
    run.learning_curve.write_text('{"step": 1')
    with pytest.raises(UserError) as caught:
        export_model(run.folder, tmp_path / 'model.safetensors')
    assert str(caught.value).startswith(f'{run.learning_curve}: is damaged')


def remove_weight(arrays, texts):
    del arrays['weights.3']


def add_weight(arrays, texts):
    arrays['weights.1000'] = np.zeros(3)


def reshape_weight(arrays, texts):
    arrays['weights.0'] = arrays['weights.0'].reshape(1, -1)


def cut_loadings(arrays, texts):
    arrays['loadings.bytes'] = arrays['loadings.bytes'][:-30]


def remove_loadings(arrays, texts):
    del arrays['loadings.step']


def remove_split(arrays, texts):
    del texts['split.json']


def other_format(arrays, texts):
    texts['run.json'] = json.dumps({**json.loads(texts['run.json']), 'format': 99})


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (remove_weight, 'do not fit'),
        (add_weight, 'do not fit'),
        (reshape_weight, 'do not fit'),
        (cut_loadings, 'do not fit'),
        (remove_loadings, 'do not fit'),
        (remove_split, 'do not fit'),
        (other_format, 'format 99'),
    ],
)
def test_load_names_a_file_whose_parts_do_not_fit(make_run, make_weights, change_file, tmp_path, change, word):
    run, path = make_run(), tmp_path / 'model.safetensors'
    make_weights(run, with_file=True)
    write_split(run.split_file, SPLITS)
    export_model(run.folder, path)
    change_file(path, change)
    with pytest.raises(UserError, match=word) as caught:
        load(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert '\n' not in str(caught.value)


def test_read_run_of_a_file_is_refused(exported):
    with pytest.raises(UserError, match='is not the folder of a run'):
        read_run(pathlib.Path(exported.path))
