"""Every bijector: inverse, log-determinants, leading dimensions, shapes and errors."""

import numpy as np
import pytest
import tensorflow as tf

CONDITION_SIZE = 3


def draw(shape, dtype, seed=1):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def kwargs_of(bijector, condition):
    """The condition, if the bijector takes one."""
    return {} if bijector.condition_size is None else {'conditional_input': condition}


def event_shapes(bijector):
    forward = bijector.inverse_event_shape(bijector.forward_event_shape(tf.TensorShape(bijector._event_shape_of_x)))
    return tuple(forward), tuple(bijector.forward_event_shape(forward))


def log_abs_det(function, value):
    """Log-determinant of the autodiff Jacobian at one event.

    Row i is the gradient of output i of the i-th copy of the event, so one backward pass gives all rows.
    """
    size = int(np.prod(value.shape))
    copies = tf.stack([value] * size)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        outputs = tf.linalg.diag_part(tf.reshape(function(copies), [size, size]))
    jacobian = tape.gradient(outputs, copies).numpy()
    return np.linalg.slogdet(jacobian.reshape(size, size))[1]


@pytest.mark.slow
@pytest.mark.parametrize(('dtype', 'tolerance'), [(tf.float32, 1e-4), (tf.float64, 1e-11)])
def test_inverse_undoes_forward(make_bijector, dtype, tolerance):
    bijector = make_bijector(dtype)
    condition = draw([4, CONDITION_SIZE], dtype, 2)
    kwargs = kwargs_of(bijector, condition)
    x = draw([4, *bijector._event_shape_of_x], dtype)
    y, forward_log_det = bijector.forward_and_log_det(x, condition)
    assert bijector.forward(x, **kwargs).dtype == dtype
    back, inverse_log_det = bijector.inverse_and_log_det(tf.identity(y), condition)
    np.testing.assert_allclose(back, x, atol=tolerance)
    np.testing.assert_allclose(inverse_log_det, -forward_log_det, atol=100 * tolerance)
    np.testing.assert_allclose(bijector.inverse(tf.identity(y), **kwargs), x, atol=tolerance)
    # And from the image to the latent and back.
    again = bijector.forward(tf.identity(back), **kwargs)
    np.testing.assert_allclose(again, y, atol=tolerance)


@pytest.mark.slow
def test_log_det_matches_the_jacobian(make_bijector):
    bijector = make_bijector(tf.float64)
    condition = draw([CONDITION_SIZE], tf.float64, 2)
    kwargs = kwargs_of(bijector, condition)
    x = draw(bijector._event_shape_of_x, tf.float64)
    y = tf.identity(bijector.forward(x, **kwargs))
    expected = log_abs_det(lambda value: bijector.forward(value, **kwargs), x)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x, **kwargs), expected, atol=1e-9)
    np.testing.assert_allclose(bijector.forward_and_log_det(x, condition)[1], expected, atol=1e-9)
    expected = log_abs_det(lambda value: bijector.inverse(value, **kwargs), y)
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(y, **kwargs), expected, atol=1e-9)
    np.testing.assert_allclose(bijector.inverse_and_log_det(y, condition)[1], expected, atol=1e-9)


@pytest.mark.slow
def test_leading_dimensions_are_kept(make_bijector):
    bijector = make_bijector(tf.float64)
    event = bijector._event_shape_of_x
    x, condition = draw([2, 3, *event], tf.float64), draw([2, 3, CONDITION_SIZE], tf.float64, 2)
    y, log_det = bijector.forward_and_log_det(x, condition)
    assert y.shape == (2, 3, *bijector._event_shape_of_y)
    assert log_det.shape == (2, 3)
    one_y, one_log_det = bijector.forward_and_log_det(x[1, 2], condition[1, 2])
    np.testing.assert_allclose(y[1, 2], one_y, atol=1e-12)
    np.testing.assert_allclose(log_det[1, 2], one_log_det, atol=1e-10)
    # The log-determinant is summed over further event dimensions.
    kwargs = kwargs_of(bijector, condition)
    summed = bijector.forward_log_det_jacobian(x, event_ndims=len(event) + 1, **kwargs)
    np.testing.assert_allclose(summed, tf.reduce_sum(log_det, -1), atol=1e-10)
    assert bijector.inverse(y[:, :0], **kwargs_of(bijector, condition[:, :0])).shape == (2, 0, *event)


@pytest.mark.slow
def test_conditions_broadcast_against_events(make_bijector):
    bijector = make_bijector(tf.float64)
    if bijector.condition_size is None:
        pytest.skip('takes no condition')
    x, condition = draw([2, 1, *bijector._event_shape_of_x], tf.float64), draw([4, CONDITION_SIZE], tf.float64, 2)
    y, log_det = bijector.forward_and_log_det(x, condition)
    assert y.shape == (2, 4, *bijector._event_shape_of_y)
    for i in range(2):
        for j in range(4):
            one_y, one_log_det = bijector.forward_and_log_det(x[i, 0], condition[j])
            np.testing.assert_allclose(y[i, j], one_y, atol=1e-12)
            np.testing.assert_allclose(log_det[i, j], one_log_det, atol=1e-10)


def test_event_shapes_match_statically_and_dynamically(make_bijector):
    bijector = make_bijector(tf.float32)
    before, after = event_shapes(bijector)
    assert bijector.forward_event_shape([5, 7, *before]) == [5, 7, *after]
    assert bijector.inverse_event_shape([5, 7, *after]) == [5, 7, *before]
    assert bijector.forward_event_shape(tf.TensorShape(None)).rank is None
    np.testing.assert_array_equal(bijector.forward_event_shape_tensor([5, 7, *before]), [5, 7, *after])
    np.testing.assert_array_equal(bijector.inverse_event_shape_tensor([5, 7, *after]), [5, 7, *before])
    assert bijector.forward_min_event_ndims == len(before)
    assert bijector.inverse_min_event_ndims == len(after)


def test_bad_shapes_name_the_argument(make_bijector):
    bijector = make_bijector(tf.float32)
    x = tf.zeros([2, *bijector._event_shape_of_x])
    wrong = tf.zeros([2, *bijector._event_shape_of_x[:-1], bijector._event_shape_of_x[-1] + 1])
    with pytest.raises(ValueError, match=rf'{bijector.name}: events must have shape'):
        bijector.forward_and_log_det(wrong, tf.zeros([2, CONDITION_SIZE]))
    if bijector.condition_size is None:
        return
    with pytest.raises(ValueError, match=r'`conditional_input` of shape \[\.\.\., 3\]'):
        bijector.forward(x)
    with pytest.raises(ValueError, match=r'`conditional_input` must have shape \[\.\.\., 3\], got \(2, 4\)'):
        bijector.forward(x, conditional_input=tf.zeros([2, CONDITION_SIZE + 1]))
    with pytest.raises(ValueError, match='one condition per event'):
        bijector.forward(x, conditional_input=tf.zeros([5, CONDITION_SIZE]))


@pytest.mark.slow
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_validate_args_rejects_conditions_that_are_not_finite(make_bijector, bad):
    bijector = make_bijector(tf.float32)
    if bijector.condition_size is None:
        pytest.skip('takes no condition')
    bijector = bijector.copy(validate_args=True)
    condition = np.zeros([2, CONDITION_SIZE], np.float32)
    x = draw([2, *bijector._event_shape_of_x], tf.float32)
    y = bijector.forward(x, conditional_input=condition)
    condition[1, 0] = bad
    for function, value in ((bijector.forward, x), (bijector.inverse, y), (bijector.initialize_from_data, y)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'`conditional_input` must be finite'):
            function(value, conditional_input=condition)


@pytest.mark.slow
def test_function_with_unknown_batch_matches_eager(make_bijector):
    bijector = make_bijector(tf.float64)
    event = bijector._event_shape_of_x
    x, condition = draw([3, *event], tf.float64), draw([3, CONDITION_SIZE], tf.float64, 2)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *event], tf.float64),
            tf.TensorSpec([None, CONDITION_SIZE], tf.float64),
        ],
        autograph=False,
    )
    def forward(x, condition):
        return bijector.forward_and_log_det(x, condition)

    for out, expected in zip(forward(x, condition), bijector.forward_and_log_det(x, condition), strict=True):
        np.testing.assert_allclose(out, expected, atol=1e-10)
        assert out.shape == expected.shape


@pytest.mark.slow
def test_gradients_reach_every_weight(make_bijector):
    bijector = make_bijector(tf.float64)
    y = bijector.forward(draw([2, *bijector._event_shape_of_x], tf.float64), **kwargs_of(bijector, tf.ones([2, 3])))
    with tf.GradientTape() as tape:
        x, log_det = bijector.inverse_and_log_det(tf.identity(y), draw([2, CONDITION_SIZE], tf.float64, 2))
        loss = tf.reduce_sum(x**2) - tf.reduce_sum(log_det)
    gradients = tape.gradient(loss, bijector.trainable_variables)
    for variable, gradient in zip(bijector.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.all(np.isfinite(gradient)), variable.name
        # Entries outside the triangle of a factor matrix are the only ones without effect.
        assert np.any(gradient != 0), variable.name
