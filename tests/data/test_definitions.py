"""The datasets of the paper, and definitions from files."""

import dataclasses
import json
import pathlib

import pytest

from tfp_bruno.data import DEFINITIONS, DatasetDefinition, get_definition, read_definition
from tfp_bruno.errors import UserError
from tfp_bruno.settings import structure


def test_get_definition_has_the_settings_of_the_paper():
    fetal, adni, thorax = (get_definition(name) for name in ('fetal', 'adni', 'thorax'))
    assert (fetal.field_of_view, fetal.num_slices, fetal.stack_share) == (160, 80, 0.65)
    assert (adni.field_of_view, adni.num_slices, adni.stack_share) == (218, 120, 0.75)
    assert (thorax.field_of_view, thorax.num_slices, thorax.stack_share) == (200, 100, 0.5)
    assert fetal.context_slices[4] == (10, 30, 50, 70)
    assert fetal.context_slices[7] == (10, 20, 30, 40, 50, 60, 70)
    assert adni.context_slices[3] == (30, 60, 90)
    assert thorax.context_slices[5] == (17, 33, 50, 67, 83)
    assert [round(d.test_share * n) for d, n in ((fetal, 270), (adni, 85), (thorax, 58))] == [20, 15, 8]


@pytest.mark.parametrize('definition', DEFINITIONS.values(), ids=DEFINITIONS)
def test_definition_has_valid_contexts_and_survives_json(definition):
    for count, slices in definition.context_slices.items():
        assert len(set(slices)) == count
        assert all(0 <= k < definition.num_slices for k in slices)
    values = json.loads(json.dumps(dataclasses.asdict(definition)))
    assert structure(DatasetDefinition, values, 'run.json', complete=True) == definition


def test_get_definition_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r'`dataset=brain`.*fetal, adni, thorax.*`dataset_config`'):
        get_definition('brain')


def test_definition_needs_exactly_one_intensity_scale():
    with pytest.raises(ValueError, match='exactly one'):
        dataclasses.replace(get_definition('thorax'), percentile=99.0)


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


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'name': None}, 'name is missing'),
        ({'num_slices': None}, 'num_slices is missing'),
        ({'name': '"a/b"'}, 'name = "a/b": String should match'),
        ({'field_of_view': '0'}, 'field_of_view = 0: should be greater than or equal to 1'),
        ({'field_of_view': '"wide"'}, 'field_of_view = "wide": should be a valid number'),
        ({'field_of_view': 'nan'}, 'field_of_view = NaN: should be a finite number'),
        ({'num_slices': '1e9'}, 'num_slices = 1000000000.0: should be a'),
        ({'num_slices': 'true'}, 'num_slices = true: should be a valid integer'),
        ({'stack_share': '1.5'}, r'stack_share = 1\.5: should be less than or equal to 1'),
        ({'test_share': '1'}, 'test_share = 1: should be'),
        ({'percentile': '101'}, 'percentile = 101: should be'),
        ({'window': '[300, -200]'}, 'window must be two numbers, the lower one first'),
        ({'window': '[0, 1]', 'percentile': '99'}, 'percentile and window exclude each other'),
        ({'plane': '"oblique"'}, 'plane = "oblique": should be .axial., .coronal. or .sagittal.'),
        ({'image_size': '4'}, 'image_size = 4: should be greater than or equal to 8'),
        ({'slice_spacing': '-1'}, 'slice_spacing = -1: should be'),
        ({'context_counts': '[0, 60]'}, r'context_counts = \[0, 60\]: must be numbers that leave slices'),
        ({'context_counts': '[]'}, 'context_counts = .*: must be numbers'),
        ({'context_slices': '{2 = [1]}'}, r'context_slices\.2 must be 2 different'),
        ({'context_slices': '{2 = [7, 7]}'}, 'must be 2 different'),
        ({'context_slices': '{1 = [60]}'}, 'must be 1 different slice numbers from 0 to 59'),
        ({'context_slices': '{1 = "a"}'}, r'context_slices\.1 = "a": should be a valid array'),
        ({'context_slices': '{1 = [3]}', 'context_counts': '[1]'}, 'exclude each other'),
        ({'colour': '"red"'}, 'colour is not a setting'),
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
