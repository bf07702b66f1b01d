"""The folder of a run: round trips of settings and weights, and errors that name the file."""

import dataclasses
import json

import pytest
import tensorflow as tf

from tfp_bruno.errors import UserError
from tfp_bruno.runs import load, lock_run, read_run
from tfp_bruno.runs.run_folder import LOCK_NAME
from tfp_bruno.version import __version__


@pytest.mark.parametrize('process', ['factor', 'exchangeable'])
def test_read_run_inverts_write_run(make_run, process):
    run = make_run(process)
    found = read_run(str(run.folder))
    assert (found.folder, found.definition, found.model, found.training) == (
        run.folder,
        run.definition,
        run.model,
        run.training,
    )
    assert found.info == dataclasses.replace(run.info, version=__version__, split_file=str(run.split_file))
    assert hash(found.definition) == hash(run.definition)


def test_moved_run_finds_its_split(make_run, tmp_path):
    run = make_run()
    moved = run.folder.rename(tmp_path / 'moved')
    assert read_run(moved).info.split_file == str(moved / 'split.tsv')


@pytest.mark.parametrize('what', ['missing', 'empty', 'file'])
def test_read_run_refuses_other_folders(tmp_path, what):
    folder = tmp_path / 'run'
    if what == 'empty':
        folder.mkdir()
    elif what == 'file':
        folder.write_text('mine')
    with pytest.raises(UserError, match='is not the folder of a run') as caught:
        read_run(folder)
    assert str(caught.value).startswith(f'{folder}: ')
    assert '\n' not in str(caught.value)


def damage(values, name):
    """Returns the content of a damaged run.json."""
    text = json.dumps(values)
    if name == 'cut short':
        return text[: len(text) // 2].encode()
    if name == 'not text':
        return b'\xff\xfe\x00run'
    if name == 'a list':
        return b'[1, 2]'
    if name == 'of another format':
        return json.dumps({**values, 'format': 99}).encode()
    section, key, value = name
    changed = {**values, section: {**values[section], key: value}}
    if value is None:
        del changed[section][key]
    return json.dumps(changed).encode()


@pytest.mark.parametrize(
    'name',
    [
        'cut short',
        'not text',
        'a list',
        'of another format',
        ('dataset', 'field_of_view', None),
        ('dataset', 'colour', 'red'),
        ('model', 'process', 'unknown'),
        ('model', 'flow', None),
        ('model', 'image_shape', 5),
        ('training', 'sequence_length', 'nine'),
        ('training', 'seed', None),
        ('training', 'objective', {'colour': 'red'}),
        ('training', 'augmentation', {'shift': -1}),
        ('training', 'steps', 1e400),
        ('info', 'preset', None),
        ('info', 'seed', None),
    ],
    ids=str,
)
def test_damaged_settings_name_the_file(make_run, name):
    run = make_run()
    damaged = damage(json.loads(run.settings_file.read_text()), name)
    run.settings_file.write_bytes(damaged)
    with pytest.raises(UserError) as caught:
        read_run(run.folder)
    assert str(caught.value).startswith(f'{run.settings_file}: ')
    assert '\n' not in str(caught.value)
    assert 'train the run again' in str(caught.value)
    assert run.settings_file.read_bytes() == damaged


@pytest.mark.parametrize(('law', 'df'), [('gaussian', None), ('student_t', 20.0)])
def test_read_run_reads_format_4(make_run, law, df):
    run = make_run()
    values = json.loads(run.settings_file.read_text())
    del values['kind']
    values['format'] = 4
    values['model'] |= {'law': law, 'df': 20.0}
    run.settings_file.write_text(json.dumps(values))
    assert read_run(run.folder).model == dataclasses.replace(run.model, df=df)


def test_read_run_reads_runs_without_validation_subjects(make_run):
    run = make_run()
    values = json.loads(run.settings_file.read_text())
    del values['training']['validation_share']
    run.settings_file.write_text(json.dumps(values))
    assert read_run(run.folder).training == dataclasses.replace(run.training, validation_share=0.0)


def test_read_run_reads_runs_whose_flow_recomputes_nothing(make_run):
    run = make_run()
    values = json.loads(run.settings_file.read_text())
    del values['model']['flow']['recompute']
    run.settings_file.write_text(json.dumps(values))
    assert read_run(run.folder).model == run.model
    assert run.model.flow.recompute is False


@pytest.mark.parametrize(('pose', 'latents'), [('one_hot', 'flow'), ('displaced', 'pixels')])
def test_read_run_reads_runs_without_an_order_of_latents(make_run, pose, latents):
    run = make_run()
    values = json.loads(run.settings_file.read_text())
    del values['model']['latents']
    values['model']['pose'] = {**run.model.pose.__dict__, 'architecture': 'one_hot'}
    if pose == 'displaced':
        values['model']['pose'] = {'control_size': 3, 'offsets': [0.0], 'pixel_size': 1.0, 'architecture': 'displaced'}
    run.settings_file.write_text(json.dumps(values))
    assert read_run(run.folder).model.latents == latents


def assert_one_line(error, *words):
    text = str(error.value)
    assert '\n' not in text
    assert all(word in text for word in words)


def test_missing_weights_are_named(make_run):
    run = make_run()
    with pytest.raises(UserError) as caught:
        load(run.folder)
    assert_one_line(caught, str(run.weights), 'cannot be restored', 'resume the training')


def test_damaged_weights_are_named(make_run, make_weights):
    run = make_run()
    make_weights(run)
    [part] = run.weights.parent.glob('model.data-*')
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(UserError) as caught:
        load(run.folder)
    assert_one_line(caught, str(run.weights), 'cannot be restored')


def test_weights_of_another_model_are_named(make_run, make_weights):
    run, other = make_run('factor'), make_run('exchangeable')
    make_weights(run)
    run.weights.parent.rename(other.weights.parent)
    with pytest.raises(UserError) as caught:
        load(other.folder)
    assert_one_line(caught, str(other.weights), 'cannot be restored')


def test_read_run_fingerprints_the_weights(make_run, make_weights):
    run = make_run()
    assert read_run(run.folder).info.weights == ''
    make_weights(run)
    before = read_run(run.folder).info.weights
    variable = tf.Variable(1.0)
    tf.train.Checkpoint(variable=variable).write(str(run.weights))
    first = read_run(run.folder).info.weights
    variable.assign(2.0)
    tf.train.Checkpoint(variable=variable).write(str(run.weights))
    assert len({before, first, read_run(run.folder).info.weights, ''}) == 4


def test_lock_run_refuses_a_second_training(tmp_path):
    with lock_run(tmp_path), pytest.raises(UserError, match='another training writes to it'), lock_run(tmp_path):
        pass
    with lock_run(tmp_path):
        pass


def test_lock_run_leaves_nothing(tmp_path):
    with lock_run(tmp_path / 'new' / 'run'):
        assert (tmp_path / 'new' / 'run' / LOCK_NAME).exists()
    assert not (tmp_path / 'new' / 'run').exists()
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'run.json').write_text('{}')
    with lock_run(tmp_path / 'run'):
        pass
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['run.json']
