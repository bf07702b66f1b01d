"""Files of arrays: another reader finds the same in them, and damage at any place is an error of one line."""

import json

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st

from tfp_bruno.errors import UserError
from tfp_bruno.runs.tensor_file import TensorFile, read_digest, read_tensors, read_texts, write_tensors

ARRAYS = {
    'a.0': np.arange(6, dtype=np.float32).reshape(2, 3),
    'half': np.array([0.5, -2.0], np.float16),
    'one': np.array(7),
    'none': np.zeros((0, 4), np.uint8),
}
TEXTS = {'card.md': '# Größe\n| a |\n', 'run.json': '{"x": 1}'}


@pytest.fixture
def path(tmp_path):
    made = tmp_path / 'model.safetensors'
    write_tensors(made, TensorFile('model', ARRAYS, TEXTS))
    return made


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        assert (arrays[name].dtype, arrays[name].shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(arrays[name], values)


def assert_refused(path, *words):
    """Every reader of the file that looks at this place of it raises one line."""
    with pytest.raises(UserError) as caught:
        read_tensors(path, 'model')
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    assert all(word in text for word in words), text


def test_read_tensors_inverts_write_tensors(path):
    content = read_tensors(path, 'model')
    assert_same(content.arrays, ARRAYS)
    assert (content.texts, read_texts(path, 'model')) == (TEXTS, TEXTS)
    assert content.digest == read_digest(path, 'model')


def test_the_library_reads_the_file(path):
    assert_same(safetensors.numpy.load_file(path), ARRAYS)
    with safetensors.safe_open(path, framework='np') as file:
        assert file.metadata()['card.md'] == TEXTS['card.md']


def test_digest_depends_on_everything(path):
    content = read_tensors(path, 'model')
    others = [
        TensorFile('other', ARRAYS, TEXTS),
        TensorFile('model', ARRAYS, {**TEXTS, 'card.md': ''}),
        TensorFile('model', {**ARRAYS, 'a.0': ARRAYS['a.0'].reshape(3, 2)}, TEXTS),
        TensorFile('model', {**ARRAYS, 'one': np.array(8)}, TEXTS),
        TensorFile('model', {**ARRAYS, 'one': np.array(7, np.uint64)}, TEXTS),
    ]
    assert len({content.digest, *(other.digest for other in others)}) == 6


def test_write_tensors_replaces_a_file_at_once(path, monkeypatch):
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch, pytest.raises(UserError, match='No space left'):
        patch.setattr('os.fsync', fail)
        write_tensors(path, TensorFile('model', {}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@hypothesis.given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp('cut') / 'model.safetensors'
    write_tensors(path, TensorFile('model', ARRAYS, TEXTS))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path, 'damaged', 'copy or write it again')


@hypothesis.given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed(tmp_path_factory, place, change):
    path = tmp_path_factory.mktemp('changed') / 'model.safetensors'
    write_tensors(path, TensorFile('model', ARRAYS, TEXTS))
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= change
    path.write_bytes(content)
    try:
        found = read_tensors(path, 'model')
    except UserError as error:
        assert '\n' not in str(error)
    else:
        # A space between two entries of the header, say.
        assert_same(found.arrays, ARRAYS)
        assert found.texts == TEXTS


def test_foreign_files_are_refused(path):
    with pytest.raises(UserError, match='was not written as a table'):
        read_tensors(path, 'table')
    safetensors.numpy.save_file(ARRAYS, path)
    assert_refused(path, 'was not written as a model')
    for content in (b'', b'PK\x03\x04 archive', b'\x80\x04\x95 pickle', json.dumps({'a': 1}).encode()):
        path.write_bytes(content)
        assert_refused(path, 'is not a model, or is damaged')
    path.unlink()
    assert_refused(path, 'No such file')


def test_a_file_of_a_newer_format_is_refused(path):
    with safetensors.safe_open(path, framework='np') as file:
        metadata = file.metadata()
    safetensors.numpy.save_file(ARRAYS, path, {**metadata, 'format': '2'})
    assert_refused(path, 'format 2', 'another version', 'install that version')
