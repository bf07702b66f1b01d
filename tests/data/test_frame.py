"""The boxes of anatomies, and what the volumes of a population have in common."""

import json

import numpy as np
import pytest

from tfp_bruno.data.frame import Box, BoxRange, TrainingFrame, common_frame, measure_box


def test_measure_box_matches_a_worked_example():
    data = np.zeros((20, 30, 40))
    data[4:10, 5:25, 12:40] = 1.0
    box = measure_box(data, np.array([2.0, 1.0, 0.5]))
    np.testing.assert_allclose(box.extent, [40, 30, 20])
    np.testing.assert_allclose(box.foreground, [12, 20, 14])
    np.testing.assert_allclose(box.offset, [(7 - 10) * 2, 0, (26 - 20) * 0.5])
    np.testing.assert_allclose(box.end_area, 1)


def test_measure_box_end_area_matches_an_ellipsoid():
    radii = np.array([18, 23, 20])
    grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (54, 75, 62)], indexing='ij'), -1)
    box = measure_box((((grid / radii) ** 2).sum(-1) < 1).astype(float), np.ones(3))
    # A plane at distance d from the middle has the share 1 - (d / radius)^2 of the largest area.
    expected = [1 - (17.5 / 18) ** 2, 1 - (22 / 23) ** 2, 1 - (19.5 / 20) ** 2]
    np.testing.assert_allclose(box.end_area, expected, atol=0.02)


def test_box_from_array_refuses_other_shapes():
    with pytest.raises(ValueError, match='a box of shape'):
        Box.from_array([[1.0, 2.0]])


def test_box_range_has_lowest_median_and_highest():
    boxes = [Box(*np.full((4, 3), value)) for value in (1.0, 5.0, 3.0)]
    seen = BoxRange.of(boxes)
    assert (seen.lowest.extent[0], seen.median.offset[1], seen.highest.end_area[2]) == (1, 3, 5)


def test_training_frame_survives_json():
    rng = np.random.default_rng(0)
    affines, boxes = rng.normal(size=(8, 4, 4)), [Box(*rng.uniform(0, 100, (4, 3))) for _ in range(8)]
    frame = common_frame(affines, rng.uniform(1, 5, 8).tolist(), boxes, (40, 32, 32))
    again = TrainingFrame.from_json(json.loads(json.dumps(frame.to_json())))
    np.testing.assert_array_equal(again.affine, frame.affine)
    assert (again.spread, again.slice_thickness) == (frame.spread, frame.slice_thickness)
    for name in ('lowest', 'median', 'highest'):
        expected = getattr(frame.boxes, name).to_array()
        np.testing.assert_allclose(getattr(again.boxes, name).to_array(), expected, atol=1e-3)
