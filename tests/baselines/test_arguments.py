"""Checks of the arguments of the baselines."""

import numpy as np
import pytest

from tfp_bruno.baselines import arguments

STACK_SHAPE = (5, 4, 3)


def test_check_query_returns_arrays():
    images, contexts, queries = arguments.check_query(np.zeros((2, 0, 4, 3)), [], range(5), STACK_SHAPE)
    assert images.shape == (2, 0, 4, 3)
    assert contexts.dtype == queries.dtype == int
    np.testing.assert_array_equal(queries, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ('shape', 'contexts', 'queries', 'message'),
    [
        ((2, 1, 4, 3), [5], [0], '0 to 4'),
        ((2, 1, 4, 3), [0], [-1], '0 to 4'),
        ((2, 2, 4, 3), [1, 1], [0], 'once'),
        ((2, 1, 4, 3), [1, 2], [0], 'context_images'),
        ((2, 1, 3, 4), [1], [0], 'context_images'),
        ((1, 4, 3), [1], [0], 'context_images'),
    ],
)
def test_check_query_refuses(shape, contexts, queries, message):
    with pytest.raises(ValueError, match=message):
        arguments.check_query(np.zeros(shape), contexts, queries, STACK_SHAPE)


@pytest.mark.parametrize('shape', [(0, 5, 4, 3), (5, 4, 3)])
def test_check_training_images_refuses(shape):
    with pytest.raises(ValueError, match='train_images'):
        arguments.check_training_images(np.zeros(shape))
