"""Label maps are told from intensities by their voxels, and intensities are not taken for them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tfp_bruno.data.label_maps import is_label_map
from tfp_bruno.phantoms.subject import generate


def field(seed, size=40):
    """A smooth random field in [0, 1], 0 outside a ball."""
    data = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size,) * 3), 4)
    data = (data - data.min()) / np.ptp(data)
    x = np.linspace(-1, 1, size)
    ball = x[:, None, None] ** 2 + x[:, None] ** 2 + x**2 < 0.8
    return data * ball, ball


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 7))
def test_regions_of_few_whole_numbers_are_labels(seed, count):
    data, ball = field(seed)
    labels = ball * (1 + np.digitize(data, np.linspace(0.3, 0.7, count - 1)))
    assert is_label_map(labels.astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([15, 63, 255, 4095]))
def test_noisy_intensities_of_any_depth_are_not(seed, most):
    data, ball = field(seed)
    noisy = np.clip(data + ball * np.random.default_rng(seed).normal(0, 0.1, data.shape), 0, 1)
    assert not is_label_map(np.round(noisy * most).astype(np.float32))
    assert not is_label_map(noisy.astype(np.float32))


def test_phantoms_are_intensities_and_their_masks_are_not():
    made = generate('fetal', 1)
    assert not is_label_map(made.image)
    assert not is_label_map(np.round(made.image * 255))
    assert is_label_map(made.mask.astype(np.float32))
    assert is_label_map(made.mask.astype(np.float32) * 255)
    # Two values that are no whole numbers are a phantom's.
    assert not is_label_map(made.mask.astype(np.float32) * 0.6)


def test_labels_of_hounsfield_units_and_sparse_numbers_are_intensities():
    data, ball = field(0)
    assert not is_label_map(np.where(ball, 40, -1000).astype(np.float32))
    assert not is_label_map((300 * np.digitize(data, [0.3, 0.5, 0.7])).astype(np.float32))
