"""Every notebook runs from top to bottom."""

import pathlib

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).resolve().parents[1] / 'notebooks').glob('*.ipynb'))


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('PYTHONPATH', str(path.parents[1]))
    notebook = nbformat.read(path, as_version=4)
    assert any(cell.get('outputs') for cell in notebook.cells if cell.cell_type == 'code'), 'kept without its outputs'
    nbclient.NotebookClient(notebook, timeout=600, resources={'metadata': {'path': str(tmp_path)}}).execute()


def test_notebooks_are_found():
    assert [path.stem for path in NOTEBOOKS] == ['complete_a_volume', 'places_of_slices', 'slices_of_a_moving_anatomy']
