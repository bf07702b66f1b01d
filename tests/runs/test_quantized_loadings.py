"""Rounded loadings: the size of the error, and that of the code, are those of theory."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfp_bruno.runs.quantized_loadings import NOISE_SHARE, dequantize, quantize

PLANES, SIZE, FACTORS = 3, 50, 140


@pytest.fixture(scope='module')
def fitted():
    """Loadings as of principal components, of decreasing size, and a residual variance."""
    rng = np.random.default_rng(0)
    scale = np.geomspace(1.0, 0.05, FACTORS)
    loadings = (rng.normal(size=(PLANES, SIZE, FACTORS)) * scale).astype(np.float32)
    return loadings, rng.uniform(0.2, 2.0, SIZE).astype(np.float32)


def test_dequantize_is_within_half_a_step(fitted):
    loadings, variance = fitted
    arrays = quantize(loadings, variance)
    # The variance of a uniform error in each of q numbers is q step^2 / 12.
    np.testing.assert_allclose(FACTORS * arrays['step'] ** 2 / 12, NOISE_SHARE * variance, rtol=1e-5)
    error = np.abs(dequantize(arrays, loadings.shape) - loadings)
    assert (error <= arrays['step'][:, None] * 0.5001).all()


def test_rounding_adds_its_share_of_the_residual_variance(fitted):
    loadings, variance = fitted
    rounded = dequantize(quantize(loadings, variance), loadings.shape)
    added = np.mean(np.sum((rounded - loadings) ** 2, axis=-1), axis=0) / variance
    np.testing.assert_allclose(added.mean(), NOISE_SHARE, rtol=0.05)


def test_rounding_twice_changes_nothing(fitted):
    loadings, variance = fitted
    once = quantize(loadings, variance)
    twice = quantize(dequantize(once, loadings.shape), variance)
    assert once.keys() == twice.keys()
    for name, values in once.items():
        np.testing.assert_array_equal(twice[name], values)


def test_the_code_is_little_longer_than_the_entropy():
    rng, count = np.random.default_rng(1), 100
    plane = rng.normal(size=(1, 1024, count)).astype(np.float32)
    variance = np.full(1024, count / (12 * NOISE_SHARE) * 0.1**2, np.float32)
    one, two = quantize(plane, variance), quantize(np.repeat(plane, 2, axis=0), variance)
    np.testing.assert_allclose(one['step'], 0.1, rtol=1e-6)
    # Of a standard normal number in steps of 0.1, bits.
    entropy = 0.5 * np.log2(2 * np.pi * np.e) - np.log2(0.1)
    bits, of_two = (8 * len(arrays['bytes']) / plane.size for arrays in (one, two))
    assert entropy < bits < entropy + 0.15
    # Another plane that is the same takes no room.
    assert of_two == bits


@hypothesis.given(
    loadings=hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e4, 1e4, width=32)),
    variance=hnp.arrays(np.float32, 3, elements=st.floats(2.0**-20, 16.0, width=32)),
)
def test_any_loadings_are_rounded_to_15_bits_or_better(loadings, variance):
    arrays = quantize(loadings, variance)
    # As with a hundred factors.
    wanted = np.sqrt(12 * NOISE_SHARE * variance / 100)
    step = np.maximum(wanted, np.abs(loadings).max(axis=(0, 2)) / (2**15 - 1))
    np.testing.assert_allclose(arrays['step'], step, rtol=1e-5)
    error = np.abs(dequantize(arrays, loadings.shape) - loadings)
    assert (error <= 0.501 * step[:, None] + 1e-6 * np.abs(loadings)).all()


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_quantize_refuses_what_is_not_finite(fitted, value):
    loadings, variance = fitted
    broken = loadings.copy()
    broken[1, 2, 3] = value
    with pytest.raises(ValueError, match='must be finite'):
        quantize(broken, variance)
    with pytest.raises(ValueError, match='must be finite'):
        quantize(loadings, np.full(SIZE, value, np.float32))


def test_dequantize_refuses_other_shapes_and_damaged_planes(fitted):
    loadings, variance = fitted
    arrays = quantize(loadings, variance)
    for shape in ((PLANES - 1, SIZE, FACTORS), (PLANES, SIZE + 1, FACTORS)):
        with pytest.raises(ValueError, match='another shape'):
            dequantize(arrays, shape)
    for number in (FACTORS - 1, FACTORS + 1):
        with pytest.raises(ValueError, match='another size'):
            dequantize(arrays, (PLANES, SIZE, number))
    with pytest.raises(ValueError, match='a plane'):
        dequantize({**arrays, 'bytes': arrays['bytes'][:-30]}, loadings.shape)
