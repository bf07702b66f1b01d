"""A wrong argument of any public constructor is an error of one line that names it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_bruno.bijectors import (
    ActNorm,
    AffineCoupling,
    BoundCondition,
    ConditionalAffine,
    ConditionalChain,
    ConditionalRealNVP,
    FactorOut,
    ImageLogit,
    InvertibleConvolution,
    MaskedAffineCoupling,
    Squeeze,
    checkerboard_mask,
)


def conditioner(x, conditional_input):
    return tf.zeros_like(x), tf.zeros_like(x)


EVENT = (2, 2, 4)
SQUEEZE = Squeeze((4, 4, 1))
VALID = {
    ActNorm: {'event_shape': EVENT},
    AffineCoupling: {'event_shape': EVENT, 'conditioner': conditioner, 'condition_size': 3},
    BoundCondition: {'bijector': ConditionalAffine(EVENT, 3), 'conditional_input': np.zeros(3)},
    ConditionalAffine: {'event_shape': EVENT, 'condition_size': 3},
    ConditionalChain: {'bijectors': [SQUEEZE]},
    ConditionalRealNVP: {'image_shape': (8, 8, 1), 'condition_size': 3},
    FactorOut: {'event_shape': (4, 4, 2), 'bijector': SQUEEZE, 'condition_size': 3},
    ImageLogit: {'event_shape': EVENT},
    InvertibleConvolution: {'event_shape': EVENT, 'initial_matrix': np.eye(4)},
    MaskedAffineCoupling: {'mask': checkerboard_mask(EVENT), 'conditioner': conditioner, 'condition_size': 3},
    Squeeze: {'image_shape': (4, 4, 1)},
}
NOT_SHAPES = ['8', 8, None, 3.5, (), (8, 8.0, 1), (8, -8, 1), (0, 8, 1), [None, 8, 1], [[8], [8], [1]], tf.zeros([3])]
WRONG = {
    'alpha': ['a', None, 0, 1, float('nan'), [0.5]],
    'bijector': [None, 'a', SQUEEZE.forward],
    'bijectors': [[], (), None, SQUEEZE],
    'condition_size': [0, -1, 2.0, '3', True, [3], np.zeros(2)],
    'conditional_input': ['a', {}, 3.0, np.zeros(4), np.zeros([2, 2])],
    'conditioner': [None, 3],
    'dtype': ['float16', tf.float16, tf.bfloat16, tf.int32, 'pixels', None, 3],
    'event_shape': NOT_SHAPES,
    'factor': [0, 1.5, '2', None],
    'image_shape': [*NOT_SHAPES, (8, 8), (8, 8, 1, 1)],
    'initial_matrix': ['a', [[1], [1, 2]], np.eye(3), np.ones([4, 4]), np.zeros([4, 4]), np.full([4, 4], np.nan)],
    'log_scale_bound': [0, -1.0, 'a', None, float('inf')],
    'make_conditioner': [3],
    'make_pose_encoder': [3, lambda: None],
    'mask': ['a', None, 3, [0.5], 1.0],
    'network_dtype': ['float23', 3, []],
    'seed': ['a', -1, 1.5],
    'settings': ['maf', None, 3, {}],
}


def cases():
    for kind, arguments in VALID.items():
        names = kind.__init__.__code__.co_varnames[: kind.__init__.__code__.co_argcount]
        for name in names:
            for value in WRONG.get(name, []):
                yield pytest.param(kind, {**arguments, name: value}, name, id=f'{kind.__name__}-{name}-{value!r:.20}')


@pytest.mark.parametrize(('kind', 'arguments', 'name'), cases())
def test_bad_input_names_the_argument_in_one_line(kind, arguments, name):
    with pytest.raises(ValueError) as caught:
        kind(**arguments)
    message = str(caught.value)
    assert f'`{name}' in message
    assert '\n' not in message
    assert len(message) < 250


@pytest.mark.parametrize('kind', VALID)
def test_equivalent_types_are_accepted(kind):
    arguments = dict(VALID[kind])
    for name in ('event_shape', 'image_shape'):
        if name in arguments:
            for shape in (np.array(arguments[name]), tf.TensorShape(arguments[name]), list(arguments[name])):
                assert kind(**{**arguments, name: shape}).inverse_min_event_ndims == len(arguments[name])
    if 'condition_size' in arguments:
        assert kind(**{**arguments, 'condition_size': np.int64(3)}).condition_size == 3


@pytest.mark.parametrize('kind', [kind for kind in VALID if kind is not BoundCondition])
def test_event_shapes_that_do_not_fit_are_errors(kind):
    bijector = kind(**VALID[kind])
    for event, static, dynamic in (
        (bijector._event_shape_of_x, bijector.forward_event_shape, bijector.forward_event_shape_tensor),
        (bijector._event_shape_of_y, bijector.inverse_event_shape, bijector.inverse_event_shape_tensor),
    ):
        message = rf'^{bijector.name}: events must have shape .*, but the shape is .*\.$'
        for wrong in ([*event[:-1], event[-1] + 1], event[1:], [2, *event[:-1]], []):
            for method in (static, dynamic):
                with pytest.raises(ValueError, match=message):
                    method(list(wrong))
        assert static([2, *event]) == [2, *static(event)]
        assert static([None, *event[:-1], None]).rank == len(static(event)) + 1


def test_bad_dtype_and_part_messages():
    with pytest.raises(ValueError, match=r'^`dtype` must be float32 or float64, got tf.float16; `network_dtype` lets'):
        ConditionalRealNVP((8, 8, 1), 3, dtype=tf.float16)
    with pytest.raises(
        ValueError, match=r"^`bijectors\[1\]` must be a ConditionalBijector, got <tfp.bijectors.Exp 'exp'"
    ):
        ConditionalChain([SQUEEZE, tfb.Exp()])
