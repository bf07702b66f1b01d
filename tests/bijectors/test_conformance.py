"""The checks of TFP's `bijector_properties_test`, for every public class of this package.

`BoundCondition` fixes the condition, so that each class is tested like a bijector of TFP.
"""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

import tfp_bruno.bijectors
from tfp_bruno.bijectors import BoundCondition, ConditionalBijector

CONDITION_SIZE = 3
DTYPES = [pytest.param(tf.float32, 2e-4, marks=pytest.mark.slow), (tf.float64, 1e-9)]


@pytest.fixture
def make(make_any):
    """A function from dtype to a bijector, its bound form and two events."""

    def build(dtype):
        conditional = make_any(dtype)
        rng = np.random.default_rng(1)
        condition = tf.constant(rng.normal(size=CONDITION_SIZE), conditional.dtype)
        x = tf.constant(rng.normal(size=(2, *conditional._event_shape_of_x)), conditional.dtype)
        return conditional, BoundCondition(conditional, condition), x

    return build


def jacobian(function, value):
    """The matrix of derivatives at one event: row i is the gradient of output i of the i-th copy of the event."""
    size = int(np.prod(value.shape))
    copies = tf.stack([value] * size)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        outputs = tf.linalg.diag_part(tf.reshape(function(copies), [size, size]))
    return tf.reshape(tape.gradient(outputs, copies), [size, size]).numpy()


def test_every_public_class_is_tested(all_makers):
    public = [getattr(tfp_bruno.bijectors, name) for name in tfp_bruno.bijectors.__all__]
    classes = {kind for kind in public if inspect.isclass(kind) and issubclass(kind, tfb.Bijector)}
    tested = {type(maker(tf.float32)) for maker in all_makers.values()} | {BoundCondition, ConditionalBijector}
    assert classes <= tested


@pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES)
def test_inverse_of_forward_is_the_identity(make, dtype, tolerance):
    _, bijector, x = make(dtype)
    tolerance = tolerance if bijector.dtype == dtype else 1e-4
    y = bijector.forward(x)
    back = bijector.inverse(tf.identity(y))
    assert y.dtype == back.dtype == bijector.dtype
    np.testing.assert_allclose(back, x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(bijector.forward(tf.identity(back)), y, rtol=tolerance, atol=tolerance)
    forward, inverse = bijector.forward_log_det_jacobian(x), bijector.inverse_log_det_jacobian(tf.identity(y))
    np.testing.assert_allclose(forward, -inverse, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.slow
def test_log_det_matches_autodiff(make):
    _, bijector, x = make(tf.float64)
    tolerance = 1e-8 if bijector.dtype == tf.float64 else 1e-4
    matrix = jacobian(bijector.forward, x[0])
    log_det = np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x[0]), log_det, rtol=tolerance, atol=tolerance)
    other = np.linalg.slogdet(jacobian(bijector.forward, x[1]))[1]
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x), [log_det, other], rtol=tolerance, atol=tolerance)
    if bijector.is_constant_jacobian:
        np.testing.assert_allclose(jacobian(bijector.forward, x[1]), matrix, atol=1e-10)
    if bijector._is_permutation:
        # At most one element of x in every element of y.
        assert (np.abs(matrix) > 1e-12).sum(1).max() == 1


def test_event_shapes_match(make):
    _, bijector, x = make(tf.float32)
    y = bijector.forward(x)
    for leading in ([], [5], [5, 7]):
        before, after = [*leading, *x.shape[1:]], [*leading, *y.shape[1:]]
        assert bijector.forward_event_shape(before) == after
        assert bijector.inverse_event_shape(after) == before
        np.testing.assert_array_equal(bijector.forward_event_shape_tensor(tf.constant(before)), after)
        np.testing.assert_array_equal(bijector.inverse_event_shape_tensor(tf.constant(after)), before)
    assert bijector.forward_event_ndims(bijector.forward_min_event_ndims + 1) == bijector.inverse_min_event_ndims + 1
    assert bijector.inverse_event_ndims(bijector.inverse_min_event_ndims + 1) == bijector.forward_min_event_ndims + 1
    assert bijector.forward_dtype() == bijector.inverse_dtype() == bijector.dtype


def test_parameter_properties_name_arguments(make):
    for bijector in make(tf.float32)[:2]:
        properties = bijector.parameter_properties(bijector.dtype)
        assert set(properties) <= set(inspect.signature(type(bijector).__init__).parameters)
        assert set(properties) <= set(bijector.parameters)
        assert bijector.experimental_batch_shape() == []
        np.testing.assert_array_equal(bijector.experimental_batch_shape_tensor(), [])


def test_copy_has_equal_values_and_the_same_variables(make):
    conditional, bijector, x = make(tf.float32)
    for own, copied in ((conditional, conditional.copy(name='copy')), (bijector, bijector.copy(name='copy'))):
        assert type(copied) is type(own)
        assert (copied.name, own.name != 'copy') == ('copy', True)
        assert list(map(id, copied.variables)) == list(map(id, own.variables))
    np.testing.assert_array_equal(copied.forward(x), bijector.forward(x))


@pytest.mark.slow
def test_slice_has_equal_values(make):
    conditional, _, x = make(tf.float32)
    conditions = np.random.default_rng(2).normal(size=(4, 2, CONDITION_SIZE)).astype(np.float32)
    bijector = BoundCondition(conditional, conditions)
    y = bijector.forward(x)
    if conditional.condition_size is None:
        y = tf.broadcast_to(y, [4, *y.shape])
    for index in (0, slice(None, None, 2), (slice(1, 3), 1), ..., (tf.newaxis, 2)):
        part = bijector[index]
        batch = np.arange(8).reshape(4, 2)[index]
        assert part.experimental_batch_shape() == batch.shape
        assert list(map(id, part.bijector.variables)) == list(map(id, conditional.variables))
        flat = np.ravel(batch)
        expected = tf.reshape(tf.gather(tf.reshape(y, [8, *y.shape[2:]]), flat), [*batch.shape, *y.shape[2:]])
        events = tf.reshape(tf.gather(x, flat % 2), [*batch.shape, *x.shape[1:]])
        np.testing.assert_allclose(part.forward(events), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_function_takes_and_returns_composite_tensors(make):
    conditional, bijector, x = make(tf.float32)
    assert isinstance(conditional, tf.__internal__.CompositeTensor)
    assert isinstance(bijector, tf.__internal__.CompositeTensor)

    @tf.function(autograph=False)
    def evaluate(conditional, bijector, x):
        return bijector.forward(x), bijector, conditional

    for condition in (bijector.conditional_input, 2.0 * bijector.conditional_input):
        other = BoundCondition(conditional, condition)
        y, result, same = evaluate(conditional, other, x)
        assert same is conditional
        assert result.bijector is conditional
        np.testing.assert_allclose(y, other.forward(x), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.forward(x), other.forward(x), rtol=1e-4, atol=1e-5)
    assert evaluate.experimental_get_tracing_count() == 1
    flat = tf.nest.flatten(bijector, expand_composites=True)
    packed = tf.nest.pack_sequence_as(bijector, flat, expand_composites=True)
    assert packed.bijector is conditional


def test_trainable_variables_all_have_gradients(make):
    conditional, bijector, x = make(tf.float32)
    assert list(map(id, bijector.trainable_variables)) == list(map(id, conditional.trainable_variables))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(bijector.forward(x) ** 2) + tf.reduce_sum(bijector.forward_log_det_jacobian(x))
    gradients = tape.gradient(loss, bijector.trainable_variables)
    assert all(gradient is not None for gradient in gradients)


def test_equality_needs_the_same_bijector_and_condition(make):
    conditional, bijector, _ = make(tf.float32)
    other = make(tf.float32)[0]
    assert conditional == conditional
    assert conditional != other
    assert bijector == BoundCondition(conditional, bijector.conditional_input)
    assert bijector != BoundCondition(other, bijector.conditional_input)
    assert bijector != BoundCondition(conditional, bijector.conditional_input + 1.0)
