"""Modes of variation are the principal axes of the loadings."""

import types

import numpy as np
import pytest

from tfp_bruno.data.encoding import from_level_middle, one_hot_poses
from tfp_bruno.runs import load, prior_modes


@pytest.fixture(scope='module')
def model(make_run, make_weights):
    run = make_run('factor')
    make_weights(run)
    return load(run.folder)


@pytest.mark.slow
def test_prior_modes_are_singular_vectors_of_the_loadings(model):
    modes = prior_modes(model, count=5, deviations=1.5)
    loadings = np.array(model.bruno.distribution.loadings)
    slices, dimensions, factors = loadings.shape
    left, values, _ = np.linalg.svd(loadings.reshape(-1, factors), full_matrices=False)
    # As many as there are factors.
    assert modes.images.shape == (factors, 2, slices, 16, 16)
    np.testing.assert_allclose(modes.shares, values**2 / np.sum(values**2), rtol=1e-3)
    poses = one_hot_poses(np.arange(slices), slices)
    nothing = np.zeros((0, 16, 16, 1), np.float32)
    mean = model.bruno.posterior(nothing, poses[:0], slices).distribution.mean(conditional_input=poses)
    shift = 1.5 * (left[:, 0] * values[0]).reshape(slices, dimensions)
    ends = [from_level_middle(model.bruno.decode(mean + sign * shift, poses).numpy()[..., 0]) for sign in (-1, 1)]
    # The sign of a mode is arbitrary.
    if np.abs(modes.images[0, 0] - ends[0]).max() > np.abs(modes.images[0, 0] - ends[1]).max():
        ends.reverse()
    np.testing.assert_allclose(modes.images[0], np.clip(ends, 0, 1), atol=1e-3)


def test_first_mode_is_the_main_difference_between_subjects(model):
    # The subjects differ in brightness.
    minus, plus = prior_modes(model, count=1).images[0]
    assert abs(plus.mean() - minus.mean()) > 0.1


def test_models_without_factors_have_no_modes(make_run, make_weights):
    run = make_run('exchangeable')
    make_weights(run)
    assert prior_modes(load(run.folder), 3) is None
    assert prior_modes(types.SimpleNamespace(name='a baseline'), 3) is None
