"""The contexts and tables of the paper's experiments."""

import pytest

from tfp_bruno.data import get_definition
from tfp_bruno.evaluation import EXPERIMENTS, context_slices_of, evaluate, format_experiment


def test_context_slices_of_are_spread_evenly_or_those_of_the_dataset():
    fetal, adni = get_definition('fetal'), get_definition('adni')
    assert context_slices_of(EXPERIMENTS['exp1'], fetal) == {
        1: (40,),
        3: (20, 40, 60),
        5: (13, 27, 40, 53, 67),
        9: (8, 16, 24, 32, 40, 48, 56, 64, 72),
    }
    assert context_slices_of(EXPERIMENTS['exp2'], fetal)[4] == (10, 30, 50, 70)
    assert context_slices_of(EXPERIMENTS['exp2'], adni) == {
        1: (60,),
        3: (30, 60, 90),
        4: (24, 48, 72, 96),
        7: (15, 30, 45, 60, 75, 90, 105),
    }


@pytest.mark.slow
def test_format_experiment_has_scores_beside_those_of_the_paper(model, train, test, provenance):
    slices = {1: (8,), 4: (2, 6, 10, 14)}
    found = evaluate(model, train, test, num_samples=4, score_samples=4, context_slices=slices)
    assert found.context_slices == slices
    lines = format_experiment(EXPERIMENTS['exp2'], found, provenance).splitlines()
    row = next(line for line in lines if line.startswith('|        4'))
    cells = [cell.strip() for cell in row.split('|')[1:-1]]
    scores = found.scores[4]
    assert cells[1] == f'{scores["samples"]["ssim"]:.3f} / {scores["samples"]["cc"]:.3f}'
    assert cells[3] == f'{scores["mean_image"]["ssim"]:.3f} / {scores["mean_image"]["cc"]:.3f}'
    assert cells[6] == f'{scores["linear"]["ssim"]:.3f} / {scores["linear"]["cc"]:.3f}'
    assert cells[-1] == '0.679 / 0.876'


@pytest.mark.slow
def test_format_experiment_has_a_dash_for_missing_scores_of_the_paper(model, train, test, provenance):
    found = evaluate(model, train, test, num_samples=2, context_slices={5: (2, 5, 8, 11, 14)})
    table = format_experiment(EXPERIMENTS['exp1'], found, provenance)
    row = next(line for line in table.splitlines() if line.split('|')[1:2] and line.split('|')[1].strip() == '5')
    assert row.split('|')[-2].strip() == '-'
    assert 'about 0.7 for adni' in table


@pytest.mark.parametrize('name', sorted(EXPERIMENTS))
def test_context_slices_of_are_inside_the_stack_of_every_dataset(name):
    for dataset in ('fetal', 'adni', 'thorax'):
        definition = get_definition(dataset)
        for count, slices in context_slices_of(EXPERIMENTS[name], definition).items():
            assert len(set(slices)) == count
            assert min(slices) >= 0
            assert max(slices) < definition.num_slices
