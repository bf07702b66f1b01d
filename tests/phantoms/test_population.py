"""The folder of a population, and the built-in population in the cache."""

import csv
import json

import nibabel
import numpy as np
import pytest

from tfp_bruno.data import get_definition, load_population
from tfp_bruno.data.population import is_phantom_folder
from tfp_bruno.data.subjects import find_subjects
from tfp_bruno.errors import UserError
from tfp_bruno.phantoms import make_subject, population, write_population

FETAL = get_definition('fetal')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('phantoms') / 'new' / 'fetal'
    write_population('fetal', path, 3, seed=4, jobs=1)
    return path


def _rows(folder):
    with (folder / 'participants.tsv').open(encoding='utf-8') as file:
        return list(csv.DictReader(file, delimiter='\t'))


def test_write_population_layout(folder):
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())
    expected = [f'sub-000{i}/anat/sub-000{i}_{kind}.nii.gz' for i in (1, 2, 3) for kind in ('T2w', 'mask')]
    assert files == sorted([*expected, 'dataset_description.json', 'participants.tsv'])
    assert [path.name for path in folder.parent.iterdir()] == ['fetal']


def test_write_population_lists_participants(folder):
    rows = _rows(folder)
    assert [row['participant_id'] for row in rows] == ['sub-0001', 'sub-0002', 'sub-0003']
    assert [row['split'] for row in rows] == ['train', 'train', 'test']
    assert all(21.0 <= float(row['age']) <= 38.0 for row in rows)
    assert len({row['seed'] for row in rows}) == 3


def test_write_population_marks_the_folder_as_synthetic(folder):
    description = json.loads((folder / 'dataset_description.json').read_text())
    assert description['Phantom'] is True
    assert description['GeneratedBy'][0]['Name'] == 'tfp_bruno phantom'
    assert is_phantom_folder(folder)
    assert [subject.split for subject in find_subjects(folder)] == ['train', 'train', 'test']


def test_write_population_volumes_match_make_subject(folder):
    row = _rows(folder)[0]
    image, mask, affine = make_subject('fetal', int(row['seed']))
    written = nibabel.load(folder / 'sub-0001' / 'anat' / 'sub-0001_T2w.nii.gz')
    assert written.get_data_dtype() == np.float32
    np.testing.assert_allclose(written.get_fdata(), image, atol=0.00051)
    for code_of in (written.get_sform, written.get_qform):
        found, code = code_of(coded=True)
        assert code == 1
        np.testing.assert_allclose(found, affine, atol=1e-5)
    assert nibabel.aff2axcodes(written.affine) == ('R', 'A', 'S')
    assert written.header.get_xyzt_units()[0] == 'mm'
    written_mask = nibabel.load(folder / 'sub-0001' / 'anat' / 'sub-0001_mask.nii.gz')
    assert written_mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written_mask.get_fdata() > 0, mask)


@pytest.mark.slow
def test_first_subjects_do_not_depend_on_their_number_or_jobs(folder, tmp_path):
    write_population('fetal', tmp_path / 'two', 2, seed=4, jobs=2)
    name = 'sub-0002/anat/sub-0002_T2w.nii.gz'
    assert (tmp_path / 'two' / name).read_bytes() == (folder / name).read_bytes()


def test_test_share_sets_the_number_of_test_subjects(tmp_path, monkeypatch):
    monkeypatch.setattr(population, '_write_subject', _empty_subject)
    write_population('adni', tmp_path / 'default', 85, jobs=1)
    write_population('adni', tmp_path / 'half', 10, jobs=1, test_share=0.5)
    write_population('adni', tmp_path / 'all', 4, jobs=1, test_share=1.0)
    counts = [[row['split'] for row in _rows(tmp_path / name)].count('test') for name in ('default', 'half', 'all')]
    assert counts == [15, 5, 3]


def test_progress_is_plain_lines_without_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(population, '_write_subject', _empty_subject)
    write_population('thorax', tmp_path / 'new', 60, jobs=1)
    assert capsys.readouterr().err.splitlines() == [f'thorax phantom: {n}/60 subjects' for n in (25, 50, 60)]


def test_folder_with_files_is_refused_and_kept(folder, tmp_path):
    (tmp_path / 'kept').mkdir()
    (tmp_path / 'kept' / 'notes.txt').write_text('mine')
    with pytest.raises(UserError, match=r'`output_dir=.*kept`: exists and is not empty'):
        write_population('fetal', tmp_path / 'kept', 2)
    assert [path.name for path in (tmp_path / 'kept').iterdir()] == ['notes.txt']
    with pytest.raises(UserError, match=r'`output_dir=.*`: is a file'):
        write_population('fetal', tmp_path / 'kept' / 'notes.txt', 2)


def test_empty_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(population, '_write_subject', _empty_subject)
    (tmp_path / 'empty').mkdir()
    write_population('fetal', tmp_path / 'empty', 2, jobs=1)
    assert (tmp_path / 'empty' / 'participants.tsv').exists()


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        ({'subjects': 1}, '`subjects=1`'),
        ({'seed': -1}, '`seed=-1`'),
        ({'jobs': 0}, '`jobs=0`'),
        ({'dataset': 'knee'}, '`dataset=knee`'),
    ],
)
def test_bad_input_names_the_argument(tmp_path, arguments, named):
    with pytest.raises(UserError, match=named):
        write_population(**{'dataset': 'fetal', 'output_dir': tmp_path / 'new', 'subjects': 2, **arguments})
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'`output_dir=.*`: cannot be written'):
        write_population('fetal', tmp_path / 'file' / 'new', 2)


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError(28, 'No space left on device')])
def test_stopped_run_leaves_nothing(tmp_path, monkeypatch, error):
    def fail_at_second(dataset, folder, name, seed):
        if name == 'sub-0002':
            raise error
        return _empty_subject(dataset, folder, name, seed)

    monkeypatch.setattr(population, '_write_subject', fail_at_second)
    with pytest.raises((KeyboardInterrupt, UserError)):
        write_population('fetal', tmp_path / 'new', 3, jobs=1)
    assert not list(tmp_path.iterdir())


def _empty_subject(dataset, folder, name, seed):
    (folder / name).mkdir(parents=True)
    return {'participant_id': name, 'split': None, 'seed': seed}


@pytest.fixture
def written(monkeypatch):
    """The arguments of the calls of `write_population`."""
    calls, write = [], population.write_population

    def write_population(dataset, output_dir, subjects, seed, jobs):
        calls.append((dataset, subjects, seed))
        write(dataset, output_dir, subjects, seed, jobs)

    monkeypatch.setattr(population, 'write_population', write_population)
    return calls


@pytest.mark.slow
def test_load_phantoms_makes_them_once(tmp_path, written):
    for _ in range(2):
        loaded = population.load_phantoms(FETAL, 4, tmp_path, seed=5, jobs=1)
        assert loaded.is_phantom
        assert loaded.description == 'built-in phantom population (synthetic), 4 subjects, seed 5'
    assert written == [('fetal', 4, 5)]
    [folder] = (tmp_path / 'phantoms').iterdir()
    assert folder.name == f'fetal-4-5-v{population.PHANTOM_VERSION}'
    again = load_population(FETAL, folder, tmp_path, seed=5)
    assert again.names == loaded.names
    np.testing.assert_array_equal(again.images, loaded.images)


@pytest.mark.slow
def test_load_phantoms_without_a_cache_folder(tmp_path, written):
    (tmp_path / 'file').write_text('in the way')
    assert len(population.load_phantoms(FETAL, 4, tmp_path / 'file', jobs=1).names) == 4
    assert written == [('fetal', 4, 0)]


def test_load_phantoms_with_a_full_cache_makes_them_elsewhere(tmp_path, monkeypatch, caplog):
    def fail_in_cache(dataset, output_dir, subjects, seed, jobs):
        if output_dir.is_relative_to(tmp_path):
            raise UserError('cannot be written (No space left on device)')
        output_dir.mkdir()

    monkeypatch.setattr(population, 'write_population', fail_in_cache)
    with population._cached_folder('fetal', tmp_path, 4, 0, 1) as folder:
        assert folder.is_dir()
        assert not folder.is_relative_to(tmp_path) or folder.parent == tmp_path / 'phantoms'
    assert 'The phantom population is not cached: cannot be written (No space left on device)' in caplog.text
