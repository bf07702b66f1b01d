"""The variogram score against its definition, and the pairs that it is computed from."""

import numpy as np
import pytest
from scipy import ndimage, stats

from tfp_bruno.evaluation.variogram import NUM_PAIRS, draw_pairs, variogram_score

SHAPE = (24, 30, 28)


@pytest.fixture(scope='module')
def mask():
    z, y, x = np.indices(SHAPE)
    return np.hypot(np.hypot(z - 12, y - 15), x - 14) < 11


def test_score_matches_its_definition(mask):
    rng = np.random.default_rng(0)
    truth, samples = rng.random(SHAPE), rng.random((7, *SHAPE))
    (i, j) = (tuple(voxels.T) for voxels in draw_pairs(mask, 3))
    of_samples = np.mean([np.sqrt(np.abs(sample[i] - sample[j])) for sample in samples], axis=0)
    expected = np.mean(np.square(np.sqrt(np.abs(truth[i] - truth[j])) - of_samples))
    assert variogram_score(truth, samples, mask, 3) == pytest.approx(expected)
    # Another brightness of all voxels changes nothing.
    assert variogram_score(truth + 1, samples, mask, 3) == pytest.approx(expected)


def test_score_is_least_for_samples_of_the_distribution_of_the_truth(mask):
    def draw(seed, width):
        smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), width)
        return smooth / smooth.std()

    truth = draw(0, 2)
    scores = {
        width: variogram_score(truth, np.stack([draw(seed, width) for seed in range(1, 30)]), mask, 0)
        for width in (0, 1, 2, 4)
    }
    assert min(scores, key=scores.get) == 2
    # A sample of static is far worse.
    assert scores[0] > 1.3 * scores[2]


def test_pairs_lie_in_the_mask_at_logarithmic_distances(mask):
    first, second = draw_pairs(mask, 0)
    assert first.shape == second.shape == (NUM_PAIRS, 3)
    assert mask[tuple(first.T)].all()
    assert mask[tuple(second.T)].all()
    assert (first != second).any(axis=1).all()
    # Far from the border of a mask, the logarithm of the distance is uniform, up to the rounding to voxels.
    everywhere = np.ones((70, 70, 70), bool)
    first, second = map(np.concatenate, zip(*(draw_pairs(everywhere, seed) for seed in range(16)), strict=True))
    central = np.all((first > 17) & (first < 52), axis=1)
    distances = np.linalg.norm((second - first)[central], axis=1)
    assert distances.max() < 17
    far = distances[distances > 3]
    assert len(far) > 1500
    assert stats.kstest(np.log(far / 3) / np.log(16 / 3), 'uniform').statistic < 0.05


def test_pairs_repeat_with_the_seed(mask):
    for one, other in zip(draw_pairs(mask, (1, 2)), draw_pairs(mask, (1, 2)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (draw_pairs(mask, (1, 2))[0] != draw_pairs(mask, (1, 3))[0]).any()


@pytest.mark.parametrize('voxels', [[], [(3, 4, 5)]])
def test_a_mask_without_pairs_has_no_score(voxels):
    mask = np.zeros(SHAPE, bool)
    for voxel in voxels:
        mask[voxel] = True
    assert np.isnan(variogram_score(np.ones(SHAPE), np.ones((3, *SHAPE)), mask, 0))
