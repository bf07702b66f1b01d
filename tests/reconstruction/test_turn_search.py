"""The turn of an anatomy in its slices is found by the posterior, and an ambiguous one is named."""

import numpy as np
import pytest

from tfp_bruno.reconstruction.turn_search import Turn, find_turn


class Landscape:
    """Stands in for a model: the log-posterior is a sum of peaks over angle and direction."""

    def __init__(self, *peaks):
        self.peaks, self.full = peaks, 0

    def log_posterior(self, images, slices, coarse=False):
        self.full += not coarse
        angle, is_reversed = float(images[0]), bool(slices[0])
        distances = [(abs((angle - at + 180) % 360 - 180), direction, height) for direction, at, height in self.peaks]
        values = [height * np.exp(-((d / 25) ** 2)) for d, direction, height in distances if direction == is_reversed]
        return sum(values)


def contexts(turn):
    return np.array([turn.angle]), np.array([turn.reversed])


@pytest.mark.parametrize('angle', [-170.0, -83.0, 0.0, 37.0, 127.0])
@pytest.mark.parametrize('is_reversed', [False, True])
def test_find_turn_finds_the_highest_peak(angle, is_reversed):
    model = Landscape((is_reversed, angle, 300.0), (is_reversed, angle + 180, 200.0), (not is_reversed, 10.0, 150.0))
    found = find_turn(model, contexts, reversible=True, prefers_unturned=False)
    assert found.turn.reversed == is_reversed
    assert abs((found.turn.angle - angle + 180) % 360 - 180) < 2
    assert found.margin == pytest.approx(100, abs=20)  # the rival is known to 7.5 degrees
    assert not found.is_ambiguous
    assert model.full < 13


def test_find_turn_names_two_turns_that_are_nearly_as_likely():
    found = find_turn(Landscape((False, 30.0, 300.0), (True, 90.0, 280.0)), contexts, True, prefers_unturned=False)
    assert found.is_ambiguous
    assert found.turn.is_near(Turn(False, 30.0), 2)
    assert found.rival.is_near(Turn(True, 90.0), 8)


def test_find_turn_prefers_no_turn_unless_another_is_clearly_better():
    for height, expected in ((320.0, 4.0), (340.0, 120.0)):
        model = Landscape((False, 4.0, 300.0), (False, 120.0, height))
        found = find_turn(model, contexts, reversible=False, prefers_unturned=True)
        assert found.turn.is_near(Turn(False, expected), 2)


def test_find_turn_keeps_the_direction_unless_it_may_be_reversed():
    model = Landscape((False, 0.0, 100.0), (True, 0.0, 900.0))
    assert not find_turn(model, contexts, reversible=False, prefers_unturned=True).turn.reversed


def test_find_turn_leaves_out_turns_whose_slices_lie_outside_the_stack():
    model = Landscape((False, 0.0, 100.0), (True, 0.0, 900.0))
    found = find_turn(model, lambda turn: None if turn.reversed else contexts(turn), True, prefers_unturned=False)
    assert not found.turn.reversed


@pytest.mark.parametrize('is_reversed', [False, True])
def test_turn_matrix_is_a_rotation_that_keeps_the_planes(is_reversed):
    matrix = Turn(is_reversed, 33.0).matrix()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(matrix[2], [0, 0, -1 if is_reversed else 1])
