"""A dataset file needs no code, and a mistake in it is an error of one line."""

import json
import pathlib

import pytest

from tfp_bruno.data import DatasetDefinition, read_definition
from tfp_bruno.errors import UserError

NEEDED = {'name': '"knee"', 'field_of_view': '160', 'num_slices': '60', 'stack_share': '0.6'}


def write(path, **settings):
    """Writes a dataset file; None leaves a setting out."""
    lines = {**NEEDED, **settings}
    path.write_text('\n'.join(f'{key} = {value}' for key, value in lines.items() if value is not None))
    return path


def test_read_definition_fills_in_defaults(tmp_path):
    definition = read_definition(write(tmp_path / 'knee.toml'))
    assert (definition.name, definition.field_of_view, definition.num_slices) == ('knee', 160, 60)
    assert (definition.percentile, definition.window, definition.plane) == (99.5, None, 'axial')
    assert (definition.image_size, definition.test_share) == (64, 0.1)
    # Spread evenly, by the formula 60 i / 4.
    assert definition.context_slices[3] == (15, 30, 45)
    assert sorted(definition.context_slices) == [0, 1, 3, 5, 9]
    assert DatasetDefinition.from_json(json.loads(json.dumps(definition.to_json()))) == definition


def test_read_definition_reads_every_setting(tmp_path):
    path = write(
        tmp_path / 'ct.toml', window='[-200, 300]', plane='"sagittal"', image_size=32, slice_spacing=2, test_share=0.2
    )
    path.write_text(path.read_text() + '\n[context_slices]\n0 = []\n2 = [40, 20]\n')
    definition = read_definition(path)
    assert (definition.window, definition.percentile, definition.axes) == ((-200.0, 300.0), None, 'PIR')
    assert (definition.image_size, definition.slice_spacing, definition.test_share) == (32, 2, 0.2)
    assert definition.context_slices == {0: (), 2: (20, 40)}
    assert definition.pixel_spacing == 5


def test_from_json_reads_definitions_without_a_plane():
    old = {
        'name': 'fetal', 'field_of_view': 160.0, 'num_slices': 80, 'stack_share': 0.65, 'test_share': 0.1,
        'context_slices': {'0': []}, 'percentile': 99.5, 'window': None, 'image_size': 64, 'slice_spacing': 1.0,
    }  # fmt: skip
    assert DatasetDefinition.from_json(old).plane == 'axial'


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'name': None}, 'name is missing'),
        ({'num_slices': None}, 'num_slices is missing'),
        ({'name': '"a/b"'}, 'name = a/b: must be letters'),
        ({'field_of_view': '0'}, 'field_of_view = 0: must be a number from 1 to 2000'),
        ({'field_of_view': '"wide"'}, 'field_of_view = wide: must be a number'),
        ({'field_of_view': 'nan'}, 'field_of_view = nan: must be a number'),
        ({'num_slices': '1e9'}, 'num_slices = .*: must be a whole number from 3 to 1000'),
        ({'num_slices': 'true'}, 'num_slices = True: must be a whole number'),
        ({'stack_share': '1.5'}, r'stack_share = 1\.5: must be a number from 0\.01 to 1'),
        ({'test_share': '1'}, 'test_share = 1: must be'),
        ({'percentile': '101'}, 'percentile = 101: must be'),
        ({'window': '[300, -200]'}, 'window = .*: must be two numbers, the lower one first'),
        ({'window': '[0, 1]', 'percentile': '99'}, 'percentile and window exclude each other'),
        ({'plane': '"oblique"'}, 'plane = oblique: must be one of axial, coronal, sagittal'),
        ({'image_size': '4'}, 'image_size = 4: must be a whole number from 8 to 1024'),
        ({'slice_spacing': '-1'}, 'slice_spacing = -1: must be'),
        ({'context_counts': '[0, 60]'}, r'context_counts = \[0, 60\]: must leave slices'),
        ({'context_counts': '[]'}, 'context_counts = .*: must be a list of whole numbers'),
        ({'context_slices': '{2 = [1]}'}, r'context_slices\.2 = \[1\]: must be 2 different'),
        ({'context_slices': '{2 = [7, 7]}'}, 'must be 2 different'),
        ({'context_slices': '{1 = [60]}'}, 'must be slice numbers from 0 to 59'),
        ({'context_slices': '{1 = "a"}'}, 'must be slice numbers'),
        ({'context_slices': '{1 = [3]}', 'context_counts': '[1]'}, 'exclude each other'),
        ({'colour': '"red"'}, 'colour is not a setting; use one of name, field_of_view'),
        ({'name': '"knee'}, 'is not TOML'),
    ],
    ids=str,
)
def test_read_definition_bad_setting_names_the_file(tmp_path, settings, message):
    path = write(tmp_path / 'mine.toml', **settings)
    with pytest.raises(UserError, match=message) as caught:
        read_definition(path)
    assert str(caught.value).startswith(str(path))
    assert '\n' not in str(caught.value)


def test_read_definition_unreadable_file_names_the_file(tmp_path):
    (tmp_path / 'bytes.toml').write_bytes(b'\xff\xfe')
    for path, message in ((tmp_path / 'none.toml', 'cannot be read'), (tmp_path, 'cannot be read')):
        with pytest.raises(UserError, match=message):
            read_definition(path)
    with pytest.raises(UserError, match='is not UTF-8'):
        read_definition(tmp_path / 'bytes.toml')


def test_read_definition_reads_the_example_of_the_docs(tmp_path):
    page = (pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'volumes.md').read_text()
    (tmp_path / 'knee.toml').write_text(page.split('```toml\n')[1].split('```')[0])
    definition = read_definition(tmp_path / 'knee.toml')
    assert (definition.name, definition.plane, definition.image_size) == ('knee', 'sagittal', 64)
    assert sorted(definition.context_slices) == [0, 1, 3, 5]
