"""Implicit shapes against distances computed by hand."""

import numpy as np
import pytest

from tfp_bruno.phantoms import geometry


def _points(rows):
    return list(np.asarray(rows, np.float32).T)


def test_ellipsoid_distance_of_a_sphere_is_exact():
    rows = np.random.default_rng(0).normal(size=(200, 3)) * 10.0
    expected = np.linalg.norm(rows - [1.0, 2.0, 3.0], axis=1) - 5.0
    distance = geometry.ellipsoid(_points(rows), (1.0, 2.0, 3.0), (5.0, 5.0, 5.0), tilt=0.7)
    np.testing.assert_allclose(distance, expected, atol=1e-4)


def test_ellipsoid_distance_at_a_tilted_tip():
    # The tip of the long y axis, lifted by 30 degrees.
    tip = [0.0, 8.0 * np.cos(np.pi / 6), 8.0 * np.sin(np.pi / 6)]
    distance = geometry.ellipsoid(_points([tip, np.multiply(tip, 1.05)]), (0, 0, 0), (2.0, 8.0, 3.0), tilt=np.pi / 6)
    np.testing.assert_allclose(distance, [0.0, 0.4], atol=0.03)


def test_ellipsoid_distance_beyond_reach_is_the_reach():
    points = _points([[100.0, 0.0, 0.0], [101.0, 0.0, 0.0]])
    np.testing.assert_array_equal(geometry.ellipsoid(points, (0, 0, 0), (2, 2, 2), reach=7.0), [7.0, 7.0])


def test_tubes_match_hand_computation():
    pieces = geometry.chain([(0, 0, 0, 1), (10, 0, 0, 3), (10, 10, 0, 3)])
    points = _points([[5.0, 4.0, 0.0], [0.0, 0.0, 4.0], [14.0, 5.0, 0.0], [-3.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    np.testing.assert_allclose(geometry.tubes(points, pieces, 20.0), [2.0, 3.0, 1.0, 2.0, 20.0], atol=1e-5)


def test_tubes_do_not_depend_on_pieces_beyond_reach():
    rng = np.random.default_rng(1)
    pieces = geometry.chain(np.abs(rng.normal(size=(30, 4))) * [40.0, 40.0, 40.0, 3.0])
    points = list((rng.uniform(-5.0, 5.0, (3, 500)) + 20.0).astype(np.float32))
    one_by_one = np.min([geometry.tubes(points, piece[None], 1000.0) for piece in pieces], axis=0)
    np.testing.assert_allclose(geometry.tubes(points, pieces, 6.0), np.minimum(one_by_one, 6.0), atol=1e-4)


def test_smooth_minimum_bounds():
    first, second = np.random.default_rng(2).normal(size=(2, 1000)).astype(np.float32) * 5.0
    smooth = geometry.smooth_minimum(first, second, 2.0)
    plain = np.minimum(first, second)
    # The blend is deepest, a quarter of the width, where both are equal, and absent beyond the width.
    assert np.all(smooth <= plain) and np.all(smooth >= plain - 0.5)
    far = np.abs(first - second) > 2.0
    np.testing.assert_array_equal(smooth[far], plain[far])


@pytest.mark.parametrize(('distance', 'share'), [(-2.0, 1.0), (-0.5, 0.75), (0.0, 0.5), (0.5, 0.25), (2.0, 0.0)])
def test_coverage_of_distances(distance, share):
    assert geometry.coverage(np.float32(distance), 2.0) == pytest.approx(share)
