"""Random motion over time."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from tfp_bruno.errors import UserError
from tfp_bruno.motion.trajectory import COURSES, MotionSettings, draw_motion

CENTRE = np.array([10.0, -20.0, 30.0])


def draw(course, num_batches=2000, seed=0):
    motion = draw_motion(num_batches, MotionSettings(10.0, 8.0, course), CENTRE, np.random.default_rng(seed))
    shifts = motion[:, :3, :3] @ CENTRE + motion[:, :3, 3] - CENTRE
    return shifts, Rotation.from_matrix(motion[:, :3, :3]).as_euler('xyz', degrees=True)


@pytest.mark.parametrize('course', COURSES)
def test_draw_motion_keeps_its_limits_and_fills_them(course):
    for values, limit in zip(draw(course), (10.0, 8.0), strict=True):
        assert 0.9 * limit < np.abs(values).max() <= limit + 1e-6


def test_draw_motion_independent_is_uniform():
    for values, limit in zip(draw('independent'), (10.0, 8.0), strict=True):
        assert stats.kstest(values.ravel(), 'uniform', (-limit, 2 * limit)).pvalue > 0.01


def test_draw_motion_smooth_moves_little_and_sudden_rarely():
    smooth, sudden = (np.abs(np.diff(draw(course)[0], axis=0)).max(axis=1) for course in ('smooth', 'sudden'))
    independent = np.abs(np.diff(draw('independent')[0], axis=0)).max(axis=1)
    assert np.median(smooth) < 0.5 * np.median(independent)
    assert 0.1 < np.mean(sudden > 1e-6) < 0.25


@pytest.mark.parametrize('course', COURSES)
def test_draw_motion_same_seed_same_motion(course):
    np.testing.assert_array_equal(draw(course, 30), draw(course, 30))
    assert np.abs(draw(course, 30)[0] - draw(course, 30, seed=1)[0]).max() > 1.0


@pytest.mark.parametrize(
    ('values', 'named'),
    [((-1.0,), 'translation=-1'), ((1.0, 200.0), 'rotation=200'), ((1.0, 0.0, 'jumpy'), 'course=jumpy')],
)
def test_motion_bad_value_is_named(values, named):
    with pytest.raises(UserError, match=named):
        MotionSettings(*values)
