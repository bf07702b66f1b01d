"""Checks of the arguments of the classical baselines."""

import numpy as np
import pytest

from tfp_bruno.baselines import base

STACK_SHAPE = (5, 4, 3)


def test_check_query_returns_arrays():
    images, contexts, queries = base.check_query(np.zeros((2, 0, 4, 3)), [], range(5), STACK_SHAPE)
    assert images.shape == (2, 0, 4, 3)
    assert contexts.dtype == queries.dtype == int
    np.testing.assert_array_equal(queries, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ('shape', 'contexts', 'queries', 'message'),
    [
        ((2, 1, 4, 3), [5], [0], '`context_slices`: must be slice numbers from 0 to 4'),
        ((2, 1, 4, 3), [0], [-1], '`query_slices`: must be slice numbers from 0 to 4'),
        ((2, 2, 4, 3), [1, 1], [0], '`context_slices`: each slice may be given once'),
        ((2, 1, 4, 3), [1, 2], [0], '`context_images`'),
        ((2, 1, 3, 4), [1], [0], '`context_images`'),
        ((1, 4, 3), [1], [0], '`context_images`'),
    ],
)
def test_check_query_bad_input_names_the_argument(shape, contexts, queries, message):
    with pytest.raises(ValueError, match=message):
        base.check_query(np.zeros(shape), contexts, queries, STACK_SHAPE)


@pytest.mark.parametrize('shape', [(0, 5, 4, 3), (5, 4, 3)])
def test_check_training_images_bad_shape_names_the_argument(shape):
    with pytest.raises(ValueError, match='`train_images`'):
        base.check_training_images(np.zeros(shape))
