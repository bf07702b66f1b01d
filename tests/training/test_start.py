"""The volumes that a model starts from."""

import dataclasses
import json

import numpy as np
import pytest

from tfp_bruno.training import AugmentationSettings
from tfp_bruno.training.start import settings_of_start, starting_volumes

IMAGES = np.random.default_rng(0).random((3, 6, 8, 8)).astype(np.float32)
SPACING = (1.0, 2.5, 2.5)


# Copies are kept in half precision, which is a sixteenth of a grey level where it is coarsest.
@pytest.mark.parametrize(
    ('count', 'dtype', 'subjects', 'rounding'),
    [(3, np.float32, [0, 1, 2], 1e-4), (8, np.float16, [0, 1, 2, 0, 1, 2, 0, 1], 0.0626)],
)
def test_subjects_come_first_and_keep_their_grey_levels(count, dtype, subjects, rounding):
    volumes, found = starting_volumes(IMAGES, count, SPACING, AugmentationSettings(), seed=1)
    assert (volumes.shape, volumes.dtype) == ((count, 6, 8, 8, 1), dtype)
    assert found.tolist() == subjects
    offsets = volumes[:3, ..., 0] * np.float32(256) - IMAGES * 255
    assert offsets.min() > -rounding
    assert offsets.max() < 1 + rounding
    assert offsets.mean() == pytest.approx(0.5, abs=0.03)


def test_copies_are_bent_each_in_its_own_way():
    volumes, subjects = starting_volumes(IMAGES, 9, SPACING, AugmentationSettings(), seed=1)
    of_first = volumes[subjects == 0]
    differences = [np.abs(of_first[i] - of_first[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(differences) > 0.02
    still = AugmentationSettings(displacement=0, scaling=0, shear=0, shift=0, contrast=0, bias=0)
    volumes, _ = starting_volumes(IMAGES, 6, SPACING, still, seed=1)
    np.testing.assert_allclose(volumes[3:], volumes[:3], atol=1.1 / 256)


def test_the_same_seed_gives_the_same_volumes():
    first, again = (starting_volumes(IMAGES, 5, SPACING, AugmentationSettings(), seed=1)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other, _ = starting_volumes(IMAGES, 5, SPACING, AugmentationSettings(), seed=2)
    assert not np.array_equal(other[4], first[4])


def test_of_many_subjects_every_so_many_are_taken():
    images = np.arange(10, dtype=np.float32)[:, None, None, None] / 10 * np.ones([10, 6, 8, 8], np.float32)
    volumes, subjects = starting_volumes(images, 4, SPACING, AugmentationSettings(), seed=1)
    assert subjects.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(volumes.mean((1, 2, 3, 4)), [0, 0.3, 0.6, 0.9], atol=0.01)


@pytest.mark.parametrize('count', [0, 3])
def test_no_copies_where_there_are_enough(count):
    volumes, subjects = starting_volumes(IMAGES, count, SPACING, AugmentationSettings(), seed=1)
    assert len(volumes) == 3
    assert subjects.tolist() == [0, 1, 2]


def test_samples_and_how_often_volumes_are_bent_have_no_part_in_the_start(make_settings):
    model, training = make_settings(augmentation=AugmentationSettings(probability=0.9))

    def start(model_changes=None, **changes):
        changed = dataclasses.replace(training, **changes)
        return json.dumps(settings_of_start(dataclasses.replace(model, **(model_changes or {})), changed))

    assert start({'factor_scale': 2.5, 'narrows_factors': False}) == start()
    assert start(augmentation=AugmentationSettings(probability=0.0), learning_rate=1.0) == start()
    others = {
        start({'factors': 4}),
        start(augmentation=AugmentationSettings(shift=9.0)),
        start(start_volumes=7),
        start(seed=1),
    }
    assert len(others | {start()}) == 5
