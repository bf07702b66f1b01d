"""Frames of stacks, against the image moments of scikit-image."""

import numpy as np
from scipy import ndimage
from skimage.measure import moments_central

from tfp_bruno.registration import Frame


def test_measure_matches_image_moments():
    stack = np.random.default_rng(0).random((12, 15, 13)) ** 3
    frame = Frame.measure(stack)
    foreground = (stack > 0.02).astype(float)
    moments = moments_central(foreground, order=2)
    variances = [moments[tuple(2 * np.eye(3, dtype=int)[axis])] / moments[0, 0, 0] for axis in range(3)]
    np.testing.assert_allclose(frame.size, np.sqrt(variances))
    np.testing.assert_allclose(frame.place, ndimage.center_of_mass(foreground))


def test_measure_of_an_empty_stack_is_that_of_a_full_one():
    frame = Frame.measure(np.zeros((4, 5, 6)))
    np.testing.assert_allclose(frame.place, [1.5, 2, 2.5])
    np.testing.assert_allclose(frame.size, [np.arange(n).std() for n in (4, 5, 6)])


def test_to_is_undone_by_the_other_frame():
    one, other = (
        Frame(np.array([2.0, 3, 4]), np.array([5.0, 6, 7])),
        Frame(np.array([4.0, 2, 1]), np.array([1.0, 2, 3])),
    )
    points = np.arange(6.0)
    np.testing.assert_allclose(one.to(other, points, 0), 1 + 2 * (points - 5))
    np.testing.assert_allclose(other.to(one, one.to(other, points, 1), 1), points)
