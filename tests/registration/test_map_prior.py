"""The Gaussian of maps and component scores, against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import linalg, stats

from tfp_bruno.registration import Frame, MapPrior, SubjectMap


@pytest.fixture(scope='module')
def subjects(make_subject):
    return [make_subject(seed) for seed in range(9)]


@pytest.fixture(scope='module')
def scores():
    return np.random.default_rng(0).normal(size=(9, 2))


@pytest.fixture(scope='module')
def prior(space, subjects, scores):
    return MapPrior.fit(space, subjects, scores)


def test_pack_and_unpack_are_inverse(prior, subjects, scores):
    for subject, own in zip(subjects, scores, strict=True):
        again, same = prior.unpack(prior.pack(subject, own))
        np.testing.assert_allclose(np.stack(again.frame), np.stack(subject.frame), rtol=1e-12)
        np.testing.assert_array_equal(again.coefficients, subject.coefficients)
        np.testing.assert_array_equal(same, own)
    assert not prior.pack(prior.space.identity, np.zeros(0)).any()


def test_sizes_of_a_wild_step_are_limited(prior):
    parameters = np.zeros(len(prior.covariance))
    parameters[prior.map_size - 6] = 1e6
    frame = prior.unpack(parameters)[0].frame
    assert np.isfinite(frame.size).all()
    assert frame.size[0] < 5 * prior.space.frame.size[0]


def test_covariance_is_the_shrunk_second_moment(prior, space, subjects, scores):
    frames = np.array(
        [[*np.log(s.frame.size / space.frame.size), *(s.frame.place - space.frame.place)] for s in subjects]
    )
    pseudo = np.concatenate([np.full(3, 0.1), 0.15 * space.frame.size])
    scale = np.sqrt((np.square(frames).sum(0) + 2 * pseudo**2) / 11)
    np.testing.assert_allclose(prior.scale, scale)
    rows = np.column_stack([[s.coefficients.ravel() for s in subjects], frames / scale, scores])
    np.testing.assert_allclose(prior.covariance, 0.5 * rows.T @ rows / 9 + 0.5 * np.eye(rows.shape[1]), atol=1e-12)
    np.testing.assert_allclose(prior.subjects, rows, rtol=1e-5, atol=1e-6)


def test_standard_prior_has_independent_parameters(space):
    prior = MapPrior.standard(space, 3)
    np.testing.assert_array_equal(prior.covariance, np.eye(3 * space.basis.size + 9))
    assert prior.map_size == 3 * space.basis.size + 6


def test_map_covariance_is_that_of_drawn_maps(prior):
    rng = np.random.default_rng(1)
    drawn = rng.multivariate_normal(np.zeros(len(prior.covariance)), prior.covariance, 4000)
    maps = [prior.unpack(each)[0] for each in drawn]
    canonical = prior.space.frame
    sizes = np.array([np.log(each.frame.size / canonical.size) for each in maps])
    places = np.array([each.frame.place - canonical.place for each in maps])
    deviations = np.sqrt(np.diag(prior.map_covariance()))[-6:]
    np.testing.assert_allclose(np.concatenate([sizes, places], 1).std(0), deviations, rtol=0.06)


def test_map_covariance_of_an_alignment_is_given_that_all_else_is_zero(prior):
    along = prior.directions('affine')
    # Conditional covariance of a Gaussian, by its usual formula.
    others = linalg.null_space(along.T)
    joint = [[a.T @ prior.covariance @ b for b in (along, others)] for a in (along, others)]
    conditional = joint[0][0] - joint[0][1] @ np.linalg.solve(joint[1][1], joint[1][0])
    expected = prior.in_units((along @ conditional @ along.T)[: prior.map_size, : prior.map_size])
    np.testing.assert_allclose(prior.map_covariance('affine'), expected, atol=1e-9)
    variances = np.diag(prior.map_covariance('affine'))[:-6].reshape(3, -1)
    np.testing.assert_allclose(variances[:, 4:], 0, atol=1e-12)


def test_moved_changes_coefficients_sizes_and_places(prior, make_subject):
    subject = make_subject(3)
    size = subject.coefficients.size
    change = np.random.default_rng(4).normal(size=size + 6)
    moved = subject.moved(change)
    np.testing.assert_allclose(moved.coefficients.ravel(), subject.coefficients.ravel() + change[:size])
    np.testing.assert_allclose(np.log(moved.frame.size / subject.frame.size), change[size : size + 3])
    np.testing.assert_allclose(moved.frame.place - subject.frame.place, change[size + 3 :])


def test_log_occam_factor_is_the_ratio_of_two_gaussians(prior, space):
    rng = np.random.default_rng(2)
    change = 0.3 * rng.normal(size=prior.map_size) * np.sqrt(np.diag(prior.map_covariance()))
    subject = space.identity.moved(change)
    root = rng.normal(size=(prior.map_size, prior.map_size)) / prior.map_size
    covariance = root @ root.T + 0.01 * np.eye(prior.map_size)
    before = stats.multivariate_normal(np.zeros(prior.map_size), prior.map_covariance()).logpdf(change)
    after = stats.multivariate_normal(change, covariance).logpdf(change)
    assert prior.log_occam_factor(subject, covariance) == pytest.approx(before - after, rel=1e-6)


def test_one_subject_is_enough(space, make_subject):
    prior = MapPrior.fit(space, [make_subject(0)], np.zeros((1, 0)))
    assert np.isfinite(np.linalg.slogdet(prior.covariance)[1])
    assert (prior.scale > 0).all()
    assert isinstance(prior.unpack(prior.subjects[0])[0], SubjectMap)
    assert isinstance(prior.unpack(prior.subjects[0])[0].frame, Frame)
