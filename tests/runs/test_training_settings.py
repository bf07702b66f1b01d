"""Settings of a training that contradict each other are refused."""

import dataclasses

import pytest

from tfp_bruno.runs import BoundSettings, TrainingSettings


@pytest.mark.parametrize(
    'change', [{'max_contexts': 0}, {'min_contexts': 5}, {'min_contexts': -1}, {'last_std': 0.0}], ids=str
)
def test_bad_bound_settings_name_the_setting(change):
    with pytest.raises(ValueError, match=r'contexts|last_std'):
        dataclasses.replace(BoundSettings(max_contexts=4), **change)


def test_sequences_must_be_longer_than_their_contexts():
    settings = TrainingSettings(sequence_length=8, objective=BoundSettings(max_contexts=4))
    with pytest.raises(ValueError, match='`sequence_length` must be above `max_contexts`, 4, got 4'):
        dataclasses.replace(settings, sequence_length=4)


@pytest.mark.parametrize('change', [{'seed': 2**32}, {'seed': -1}, {'validation_share': 0.6}], ids=str)
def test_training_settings_out_of_range_name_the_setting(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(TrainingSettings(), **change)
