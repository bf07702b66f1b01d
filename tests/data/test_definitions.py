"""The three datasets have the settings of the paper."""

import dataclasses
import json

import pytest

from tfp_bruno.data import DEFINITIONS, DatasetDefinition, get_definition
from tfp_bruno.errors import UserError


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
    assert DatasetDefinition.from_json(json.loads(json.dumps(definition.to_json()))) == definition


def test_get_definition_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r'`dataset=brain`.*fetal, adni, thorax.*`dataset_config`'):
        get_definition('brain')


def test_definition_needs_exactly_one_intensity_scale():
    with pytest.raises(ValueError, match='exactly one'):
        dataclasses.replace(get_definition('thorax'), percentile=99.0)
