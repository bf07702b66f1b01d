"""The model card says what the run says, in Markdown that names cannot change."""

import dataclasses
from importlib import metadata

import pytest

from tfp_bruno.runs.model_card import format_card
from tfp_bruno.version import __version__

SPLITS = {'a': 'train', 'b': 'train', 'c': 'validation', 'd': 'test'}
CURVE = [{'step': 1, 'seconds': 2.0, 'train/loss': 3.0}, {'step': 5, 'seconds': 90.0, 'train/loss': 2.0}]


@pytest.fixture(scope='module')
def run(make_run):
    return make_run()


def test_card_holds_data_training_and_versions(run):
    card = format_card(run, SPLITS, CURVE)
    for line in (
        '- Volumes: noise; synthetic (phantoms)',
        '- Train subjects: 2',
        '- Validation subjects: 1',
        '- Test subjects: 1',
        '- Licence: not stated',
        '- Steps: 5, 1.5 minutes',
        '- Last train/loss: 2.0000',
        'Not evaluated.',
        f'- tensorflow {metadata.version("tensorflow")}',
    ):
        assert line in card.splitlines()
    assert f'exported with tfp_bruno {__version__}' in card
    headings = [line for line in card.splitlines() if line.startswith('## ')]
    assert headings == [
        f'## {name}' for name in ('Training data', 'Training', 'Scores', 'Intended use', 'Limits', 'Versions')
    ]
    assert 'says nothing about scans of people' in card


def test_card_shows_scores_and_the_licence_as_one_line(run):
    card = format_card(run, SPLITS, [], 'SSIM 0.7', 'mine\n## Licence\x1b[2J')
    assert '- Licence: mine\\n## Licence\\x1b[2J' in card.splitlines()
    assert 'SSIM 0.7' in card.splitlines()
    assert 'Steps' not in card


def test_card_of_scans_does_not_speak_of_phantoms(run):
    info = dataclasses.replace(run.info, is_phantom=False, data='scans')
    card = format_card(dataclasses.replace(run, info=info), SPLITS, CURVE)
    assert '- Volumes: scans' in card.splitlines()
    assert 'synthetic' not in card
