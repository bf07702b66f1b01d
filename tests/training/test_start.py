"""The closed-form start: the volumes it is fitted to, its settings and its cache."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.training import AugmentationSettings, Trainer
from tfp_bruno.training.start import StartCache, settings_of_start, starting_volumes

IMAGES = np.random.default_rng(0).random((3, 6, 8, 8)).astype(np.float32)
SPACING = (1.0, 2.5, 2.5)


# Copies are kept in half precision, which is a sixteenth of a grey level where it is coarsest.
@pytest.mark.parametrize(
    ('count', 'dtype', 'subjects', 'rounding'),
    [(3, np.float32, [0, 1, 2], 1e-4), (8, np.float16, [0, 1, 2, 0, 1, 2, 0, 1], 0.0626)],
)
def test_starting_volumes_begin_with_the_subjects(count, dtype, subjects, rounding):
    volumes, found = starting_volumes(IMAGES, count, SPACING, AugmentationSettings(), seed=1)
    assert (volumes.shape, volumes.dtype) == ((count, 6, 8, 8, 1), dtype)
    assert found.tolist() == subjects
    offsets = volumes[:3, ..., 0] * np.float32(256) - IMAGES * 255
    assert offsets.min() > -rounding
    assert offsets.max() < 1 + rounding
    assert offsets.mean() == pytest.approx(0.5, abs=0.03)


def test_copies_are_augmented_differently():
    volumes, subjects = starting_volumes(IMAGES, 9, SPACING, AugmentationSettings(), seed=1)
    of_first = volumes[subjects == 0]
    differences = [np.abs(of_first[i] - of_first[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(differences) > 0.02
    still = AugmentationSettings(displacement=0, scaling=0, shear=0, shift=0, contrast=0, bias=0)
    volumes, _ = starting_volumes(IMAGES, 6, SPACING, still, seed=1)
    np.testing.assert_allclose(volumes[3:], volumes[:3], atol=1.1 / 256)


def test_seed_determines_the_volumes():
    first, again = (starting_volumes(IMAGES, 5, SPACING, AugmentationSettings(), seed=1)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other, _ = starting_volumes(IMAGES, 5, SPACING, AugmentationSettings(), seed=2)
    assert not np.array_equal(other[4], first[4])


def test_fewer_volumes_than_subjects_are_spread_over_them():
    images = np.arange(10, dtype=np.float32)[:, None, None, None] / 10 * np.ones([10, 6, 8, 8], np.float32)
    volumes, subjects = starting_volumes(images, 4, SPACING, AugmentationSettings(), seed=1)
    assert subjects.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(volumes.mean((1, 2, 3, 4)), [0, 0.3, 0.6, 0.9], atol=0.01)


@pytest.mark.parametrize('count', [0, 3])
def test_no_copies_if_there_are_enough_subjects(count):
    volumes, subjects = starting_volumes(IMAGES, count, SPACING, AugmentationSettings(), seed=1)
    assert len(volumes) == 3
    assert subjects.tolist() == [0, 1, 2]


def test_settings_of_start_ignore_sampling_and_augmentation_probability(make_settings):
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


def make_variables(value, size=3):
    return [tf.Variable(tf.fill([size], value)), tf.Variable(2 * value)]


def test_cache_round_trip(tmp_path):
    cache = StartCache(tmp_path / 'starts')
    cache.write('one', make_variables(1.5))
    found = make_variables(0.0)
    assert cache.read('one', found)
    np.testing.assert_array_equal(found[0], [1.5, 1.5, 1.5])
    assert float(found[1]) == 3.0


def test_missing_or_unfitting_start_is_not_read(tmp_path):
    cache = StartCache(tmp_path)
    assert not cache.read('one', make_variables(0.0))
    cache.write('one', make_variables(1.5))
    assert not cache.read('one', make_variables(0.0, size=4))
    assert not cache.read('one', make_variables(0.0)[:1])
    (tmp_path / 'one' / 'start.index').write_bytes(b'damaged')
    assert not cache.read('one', make_variables(0.0))


def test_key_depends_on_data_and_settings():
    cache = StartCache(None)
    keys = {cache.key(IMAGES, [1]), cache.key(IMAGES + 1e-6, [1]), cache.key(IMAGES, [2]), cache.key(IMAGES, {'a': 1})}
    assert len(keys) == 4
    assert cache.key(IMAGES[:, ::-1], [1]) == cache.key(np.ascontiguousarray(IMAGES[:, ::-1]), [1])


def test_least_recently_used_start_is_removed_first(tmp_path):
    cache = StartCache(tmp_path)
    for age, key in enumerate(('one', 'two', 'three')):
        cache.write(key, make_variables(1.0))
        os.utime(tmp_path / key, (1000 + age, 1000 + age))
    assert cache.read('one', make_variables(0.0))
    cache.write('four', make_variables(1.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['four', 'one', 'three']


def test_unwritable_folder_is_a_warning(tmp_path, caplog):
    (tmp_path / 'file').write_text('')
    StartCache(tmp_path / 'file' / 'starts').write('one', make_variables(1.0))
    assert 'is not cached' in caplog.text


@pytest.mark.slow
def test_cached_start_equals_the_first_start(discs, make_settings, tmp_path):
    model_settings, training = make_settings(start_volumes=6)
    poses = np.eye(12, dtype=np.float32)
    first, second = Trainer(model_settings, training), Trainer(model_settings, training)
    volumes, subjects = starting_volumes(discs[:4], training.start_volumes, (3.0, 2.0, 2.0), training.augmentation, 0)
    first.initialize(volumes, poses, subjects)
    cache = StartCache(tmp_path)
    cache.write('key', first.model.variables)
    assert cache.read('key', second.model.variables)
    for one, other in zip(first.model.variables, second.model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
