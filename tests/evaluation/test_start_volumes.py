"""Scores of start volumes for slice-to-volume reconstruction."""

import functools

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.evaluation.start_volumes import AVERAGE, score_inside, score_starts, score_subjects
from tfp_bruno.motion import MotionSettings, RegistrationSettings, StackProtocol, simulate_stacks


@pytest.fixture(scope='module')
def subject():
    """A textured ball in 24 voxels of 4 mm, its affine and its stacks with 8 mm of motion."""
    grid = np.stack(np.meshgrid(*[np.arange(24) - 11.5] * 3, indexing='ij'), -1)
    mask = (grid**2).sum(-1) < 10**2
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=mask.shape), 1.5)
    truth = np.where(mask, 0.5 + 0.15 * texture / texture.std(), 0.0).clip(0, 1).astype(np.float32)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    protocol = StackProtocol(thickness=4.0, spacing=8.0, pixel_spacing=4.0)
    return truth, mask, affine, simulate_stacks(truth, mask, affine, protocol, MotionSettings(8.0), seed=1)


def test_score_inside_equals_scikit_image(subject):
    truth, mask, _, _ = subject
    noisy = truth + np.random.default_rng(1).normal(0, 0.1, truth.shape).astype(np.float32)
    scores = score_inside(truth, noisy, mask)
    assert scores['mask_psnr'] == pytest.approx(peak_signal_noise_ratio(truth[mask], noisy[mask], data_range=1.0))
    assert scores['mask_cc'] == pytest.approx(np.corrcoef(truth[mask], noisy[mask])[0, 1])
    assert scores['psnr'] == pytest.approx(peak_signal_noise_ratio(truth, noisy, data_range=1.0))
    assert scores['cc'] == pytest.approx(np.corrcoef(truth.ravel(), noisy.ravel())[0, 1])
    assert scores['ssim'] < 0.9 and scores['mask_ssim'] < 1.0
    assert score_inside(truth, truth, mask) == {
        'ssim': 1.0,
        'cc': pytest.approx(1),
        'psnr': np.inf,
        'mask_ssim': 1.0,
        'mask_cc': pytest.approx(1),
        'mask_psnr': np.inf,
    }


@pytest.mark.slow
def test_score_starts_orders_starts_by_what_they_are_worth(subject):
    truth, mask, affine, simulated = subject
    settings = RegistrationSettings(search=8.0, search_step=8.0)
    rows = score_starts(truth, mask, affine, {'truth': truth}, simulated, 1, settings)
    assert [(row['start'], row['cycle']) for row in rows] == [(AVERAGE, 0), (AVERAGE, 1), ('truth', 0), ('truth', 1)]
    average, _, perfect, reached = rows
    assert perfect['mask_ssim'] == 1.0 and average['mask_ssim'] < 0.7
    assert average['median_mm'] == perfect['median_mm'] > 4.0 and np.isnan(average['correlation'])
    assert reached['median_mm'] < 1.0 and reached['share_5mm'] > 0.9
    assert reached['correlation'] > 0.95 and reached['mask_psnr'] > average['mask_psnr']
    assert len({row['slices'] for row in rows}) == 1 and rows[0]['slices'] > 10


def test_score_starts_scores_a_start_where_the_truth_lies(subject):
    truth, mask, affine, simulated = subject
    moved = np.roll(truth, 3, axis=0)
    starts, placed = {'moved': moved, 'as it is': moved}, {'moved': truth}
    rows = score_starts(truth, mask, affine, starts, simulated, 0, placed=placed)
    assert [(row['start'], row['cycle']) for row in rows] == [(AVERAGE, 0), ('moved', 0), ('as it is', 0)]
    assert rows[1]['mask_ssim'] == 1.0 and rows[2]['mask_ssim'] < 0.7


def test_score_starts_refuses_what_it_cannot_score(subject):
    truth, mask, affine, simulated = subject
    with pytest.raises(UserError, match='small is'):
        score_starts(truth, mask, affine, {'small': truth[1:]}, simulated, 1, RegistrationSettings(search=0.0))
    with pytest.raises(UserError, match='least_area'):
        score_starts(truth, mask, affine, {}, simulated, 1, RegistrationSettings(least_area=1e6))


def _rows(value):
    if value is None:
        raise UserError('scan.nii.gz: shows nothing.')
    return [{'start': 'mean', 'cycle': 0, 'ssim': value}]


@pytest.mark.parametrize('jobs', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_score_subjects_leaves_out_a_subject_that_fails(jobs):
    subjects = {name: functools.partial(_rows, value) for name, value in (('a', 0.1), ('b', None), ('c', 0.3))}
    with collect_warnings() as warnings:
        rows = score_subjects(subjects, jobs)
    assert [(row['subject'], row['ssim']) for row in rows] == [('a', 0.1), ('c', 0.3)]
    assert warnings == ['b: is left out: scan.nii.gz: shows nothing.']
    with pytest.raises(UserError, match='shows nothing'):
        score_subjects({'b': subjects['b']}, jobs)
