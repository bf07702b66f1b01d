"""Statistics of the fold pattern, and the distance to its sheets."""

import numpy as np
import pytest

from tfp_bruno.phantoms import folding

CENTRE, RADII = (0.0, 0.0, 0.0), (40.0, 40.0, 40.0)


def _pattern(seed, individuality=0.0, wavelength=20.0):
    return folding.make_pattern(wavelength, individuality, CENTRE, RADII, 5, np.random.default_rng(seed))


def _surface(count=4000):
    directions = np.random.default_rng(3).normal(size=(3, count))
    return list((40.0 * directions / np.linalg.norm(directions, axis=0)).astype(np.float32))


def test_sheet_distance_scales_with_the_wavelength():
    # The mean distance to the nearest sheet scales with the wavelength.
    short, long = (folding.sheet_distance(_surface(), _pattern(0, 0.0, length)).mean() for length in (10.0, 20.0))
    assert long / short == pytest.approx(2.0, abs=0.25)


def test_sheets_extend_radially():
    pattern = _pattern(0)
    outer = folding.sheet_distance(_surface(), pattern)
    inner = folding.sheet_distance([0.8 * axis for axis in _surface()], pattern)
    # The same sheets, extended inwards along the radius.
    np.testing.assert_allclose(inner, 0.8 * outer, atol=1e-3)


def test_common_part_is_shared_and_mirrored():
    first, second = (folding.sheet_distance(_surface(), _pattern(seed)) for seed in (0, 1))
    np.testing.assert_allclose(first, second, atol=1e-5)
    x, y, z = _surface()
    np.testing.assert_allclose(folding.sheet_distance([-x, y, z], _pattern(0)), first, atol=1e-4)


def test_individual_part_differs_between_subjects():
    distances = [folding.sheet_distance(_surface(), _pattern(seed, 0.3)) for seed in (0, 1)]
    assert 0.2 < np.corrcoef(*distances)[0, 1] < 0.9


def test_gradient_matches_finite_differences():
    waves = _pattern(0).common.astype(np.float64)
    positions = np.stack(_surface(50)).astype(np.float64)
    _, slope = folding._evaluate(waves, positions)
    for axis in range(3):
        step = np.zeros((3, 1))
        step[axis] = 1e-5
        above, below = (folding._evaluate(waves, positions + sign * step)[0] for sign in (1.0, -1.0))
        np.testing.assert_allclose(slope[axis], (above - below) / 2e-5, atol=1e-6)
