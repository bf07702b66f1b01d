"""The compiled interpolation against the other."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.networks import interpolate_volume, trilinear


@pytest.mark.slow
@pytest.mark.parametrize('is_fixed', [False, True])
def test_compiled_interpolation_is_the_same(is_fixed, monkeypatch):
    rng = np.random.default_rng(0)
    volume, grid = tf.constant(rng.normal(size=(3, 4, 5, 6))), tf.constant(rng.uniform(-1.0, 5.0, size=(7, 8, 3)))

    def evaluate(compiled_from):
        monkeypatch.setattr(trilinear, '_COMPILED_FROM', compiled_from)
        monkeypatch.setattr(trilinear, '_has_gpu', lambda: False)
        with tf.GradientTape() as tape:
            tape.watch([volume, grid])
            values = interpolate_volume(volume, grid, is_fixed)
            loss = tf.reduce_sum(values**2)
        return values, *tape.gradient(loss, [volume, grid])

    results = evaluate(0), evaluate(10**9)
    for index in (0, 2) if is_fixed else range(3):
        np.testing.assert_allclose(*[np.asarray(each[index]) for each in results], atol=1e-12)
    if is_fixed:
        assert not np.any(results[0][1] if results[0][1] is not None else 0.0)
        assert results[1][1] is None


def test_compiled_interpolation_returns_voxels_exactly_and_keeps_nan(monkeypatch):
    monkeypatch.setattr(trilinear, '_COMPILED_FROM', 0)
    monkeypatch.setattr(trilinear, '_has_gpu', lambda: False)
    volume = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    grid = np.stack(np.meshgrid(*map(np.arange, volume.shape[:3]), indexing='ij'), -1)
    np.testing.assert_array_equal(interpolate_volume(volume, grid), volume)
    assert np.isnan(interpolate_volume(volume, np.full((2, 3), np.nan, np.float32))).all()
