"""A population holds every stack, in order, with its split and its origin."""

import json
import subprocess
import sys
import types

import numpy as np
import pytest

from tfp_bruno.data import extract_stack, find_subjects, get_definition, load_population, read_volume
from tfp_bruno.errors import UserError

FETAL = get_definition('fetal')


@pytest.mark.parametrize('bids', [False, True])
def test_every_subject_is_there_in_order(tmp_path, make_folder, bids):
    folder = make_folder(tmp_path / 'data', 5, bids)
    population = load_population(FETAL, folder, tmp_path / 'cache', seed=0)
    assert population.images.shape == (5, 80, 64, 64)
    assert population.images.dtype == np.float32
    assert sorted(population.names) == [f'sub-{i:02d}' for i in range(1, 6)]
    # Training subjects first, each split in the order of the files.
    assert population.splits == ('train',) * 4 + ('test',)
    assert list(population.names[:4]) == sorted(population.names[:4])
    assert not population.is_phantom
    assert population.description.startswith(f'volumes of {folder.name}, ')
    paths = {subject.name: subject.path for subject in find_subjects(folder)}
    for images, name in zip(population.images, population.names, strict=True):
        np.testing.assert_allclose(images, extract_stack(read_volume(paths[name]), FETAL).images, atol=1e-5)


def test_subsets(tmp_path, make_folder):
    population = load_population(FETAL, make_folder(tmp_path / 'data', 4), tmp_path / 'cache')
    train, test = population.subset('train'), population.subset('test')
    assert population.subset('all') is population
    assert sorted(train.names + test.names) == sorted(population.names)
    index = population.names.index(test.names[0])
    np.testing.assert_array_equal(test.images[0], population.images[index])
    assert population.splits_by_name[test.names[0]] == 'test'
    with pytest.raises(UserError, match='--split=test: no subject'):
        train.subset('test')


def test_a_split_can_be_reused_or_done_without(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 2)
    with pytest.raises(UserError, match='a split needs at least 3'):
        load_population(FETAL, folder, tmp_path / 'cache')
    assert load_population(FETAL, folder, tmp_path / 'cache', needs_split=False).splits == ('test', 'test')
    splits = {'sub-01': 'train', 'sub-02': 'test'}
    assert load_population(FETAL, folder, tmp_path / 'cache', splits=splits).splits == ('train', 'test')


def test_one_volume_under_two_names_in_both_splits_is_fatal(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    (folder / 'sub-04_T2w.nii.gz').write_bytes((folder / 'sub-01_T2w.nii.gz').read_bytes())
    rows = ['participant_id\tsplit', 'sub-01\ttrain', 'sub-02\ttrain', 'sub-03\ttest', 'sub-04\ttest']
    (folder / 'participants.tsv').write_text('\n'.join(rows))
    with pytest.raises(UserError, match=r'sub-04_T2w\.nii\.gz: is the same volume as .*sub-01_T2w'):
        load_population(FETAL, folder, tmp_path / 'cache')


def test_a_bad_volume_among_good_ones_is_named(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    bad = folder / 'sub-03_T2w.nii.gz'
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(UserError, match=r'sub-03_T2w\.nii\.gz: is cut short'):
        load_population(FETAL, folder, tmp_path / 'cache')


def describe(folder, description):
    (folder / 'dataset_description.json').write_text(json.dumps(description))


def test_a_folder_written_by_the_phantom_is_recognised(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 3)
    describe(folder, {'Name': 'x', 'GeneratedBy': [{'Name': 'tfp_bruno phantom', 'Version': '1'}]})
    population = load_population(FETAL, folder, tmp_path / 'cache')
    assert population.is_phantom
    assert 'phantom' in population.description
    for other in ({'GeneratedBy': [{'Name': 'scanner'}]}, {'GeneratedBy': ['x']}, {'GeneratedBy': None}, [1]):
        describe(folder, other)
        assert not load_population(FETAL, folder, tmp_path / 'cache').is_phantom


@pytest.fixture
def fake_phantoms(monkeypatch, make_folder):
    """A phantom that writes three small volumes, in the place of the real one; its calls are listed."""
    calls = []

    def write_population(dataset, output_dir, subjects, seed, jobs):
        calls.append((dataset, subjects, seed))
        make_folder(output_dir, subjects)

    module = types.ModuleType('tfp_bruno.phantoms')
    module.write_population, module.PHANTOM_VERSION = write_population, 7
    monkeypatch.setitem(sys.modules, 'tfp_bruno.phantoms', module)
    monkeypatch.setattr('tfp_bruno.phantoms', module, raising=False)
    return calls


def test_without_a_folder_the_phantom_is_made_once(tmp_path, fake_phantoms):
    for _ in range(2):
        population = load_population(FETAL, None, tmp_path, seed=5, phantom_subjects=3)
        assert population.is_phantom
        assert population.description == 'built-in phantom population (synthetic), 3 subjects, seed 5'
        assert len(population.names) == 3
    assert fake_phantoms == [('fetal', 3, 5)]
    assert [path.name for path in (tmp_path / 'phantoms').iterdir()] == ['fetal-3-5-v7']


def test_the_phantom_without_a_cache_folder(tmp_path, fake_phantoms):
    (tmp_path / 'file').write_text('in the way')
    assert len(load_population(FETAL, None, tmp_path / 'file', phantom_subjects=3).names) == 3


def test_reading_data_does_not_wait_for_tensorflow():
    code = 'import sys, tfp_bruno.data; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
