"""Points of a learning curve, and the best of them."""

import pytest

from tfp_bruno.training.learning_curve import LearningCurve


@pytest.fixture
def curve(tmp_path):
    made = LearningCurve(tmp_path / 'curve.jsonl')
    for step, loss in ((0, 3.0), (10, 1.5), (20, 1.0), (30, 1.0), (40, 2.0)):
        made.append({'step': step, 'held_out/loss': loss})
    return made


def test_best_step_is_the_first_of_the_least_value(curve):
    assert curve.best_step('held_out/loss') == 20
    assert curve.best_step('train/loss') is None
    curve.cut(10)
    assert (curve.best_step('held_out/loss'), curve.last_step()) == (10, 10)


def test_a_value_is_least_below_all_others(curve):
    assert curve.is_least({'held_out/loss': 0.9}, 'held_out/loss')
    assert not curve.is_least({'held_out/loss': 1.0}, 'held_out/loss')
    assert curve.is_least({'train/loss': 9.0}, 'held_out/loss')


def test_a_line_that_was_cut_short_is_the_end(curve, tmp_path):
    path = tmp_path / 'curve.jsonl'
    path.write_text(path.read_text()[:-12])
    assert curve.last_step() == 30
    assert LearningCurve(tmp_path / 'none.jsonl').points() == []
