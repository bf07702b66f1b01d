"""The built-in population is made once, and read like a folder of volumes."""

import numpy as np
import pytest

from tfp_bruno.data import get_definition, load_population
from tfp_bruno.phantoms import built_in

FETAL = get_definition('fetal')


@pytest.fixture
def written(monkeypatch):
    """The calls that wrote phantoms."""
    calls, write = [], built_in.write_population

    def write_population(dataset, output_dir, subjects, seed, jobs):
        calls.append((dataset, subjects, seed))
        write(dataset, output_dir, subjects, seed, jobs)

    monkeypatch.setattr(built_in, 'write_population', write_population)
    return calls


def test_phantoms_are_made_once(tmp_path, written):
    for _ in range(2):
        population = built_in.load_phantoms(FETAL, 4, tmp_path, seed=5, jobs=1)
        assert population.is_phantom
        assert population.description == 'built-in phantom population (synthetic), 4 subjects, seed 5'
    assert written == [('fetal', 4, 5)]
    [folder] = (tmp_path / 'phantoms').iterdir()
    assert folder.name == f'fetal-4-5-v{built_in.PHANTOM_VERSION}'
    again = load_population(FETAL, folder, tmp_path, seed=5)
    assert again.names == population.names
    np.testing.assert_array_equal(again.images, population.images)


def test_phantoms_without_a_cache_folder(tmp_path, written):
    (tmp_path / 'file').write_text('in the way')
    assert len(built_in.load_phantoms(FETAL, 4, tmp_path / 'file', jobs=1).names) == 4
    assert written == [('fetal', 4, 0)]
