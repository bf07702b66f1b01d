"""The cache of what a model starts from."""

import os

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.training.start_cache import StartCache

IMAGES = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)


def variables(value, size=3):
    return [tf.Variable(tf.fill([size], value)), tf.Variable(2 * value)]


def test_values_come_back(tmp_path):
    cache = StartCache(tmp_path / 'starts')
    cache.write('one', variables(1.5))
    found = variables(0.0)
    assert cache.read('one', found)
    np.testing.assert_array_equal(found[0], [1.5, 1.5, 1.5])
    assert float(found[1]) == 3.0


def test_what_is_missing_or_does_not_fit_is_not_taken(tmp_path):
    cache = StartCache(tmp_path)
    assert not cache.read('one', variables(0.0))
    cache.write('one', variables(1.5))
    assert not cache.read('one', variables(0.0, size=4))
    assert not cache.read('one', variables(0.0)[:1])
    (tmp_path / 'one' / 'start.index').write_bytes(b'damaged')
    assert not cache.read('one', variables(0.0))


def test_keys_tell_data_and_settings_apart():
    cache = StartCache(None)
    keys = {cache.key(IMAGES, [1]), cache.key(IMAGES + 1e-6, [1]), cache.key(IMAGES, [2]), cache.key(IMAGES, {'a': 1})}
    assert len(keys) == 4
    assert cache.key(IMAGES[:, ::-1], [1]) == cache.key(np.ascontiguousarray(IMAGES[:, ::-1]), [1])


def test_the_oldest_goes_first(tmp_path):
    cache = StartCache(tmp_path)
    for age, key in enumerate(('one', 'two', 'three')):
        cache.write(key, variables(1.0))
        os.utime(tmp_path / key, (1000 + age, 1000 + age))
    assert cache.read('one', variables(0.0))
    cache.write('four', variables(1.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['four', 'one', 'three']


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / 'file').write_text('')
    StartCache(tmp_path / 'file' / 'starts').write('one', variables(1.0))
    assert 'is not cached' in caplog.text


@pytest.mark.parametrize('settings', [{'start_volumes': 6}])
def test_a_second_run_starts_where_the_first_did(discs, make_settings, tmp_path, settings):
    # The key has to hold all that the start depends on; here, all is the same.
    from tfp_bruno.training import Trainer
    from tfp_bruno.training.start import starting_volumes

    model_settings, training = make_settings(**settings)
    poses = np.eye(12, dtype=np.float32)
    first, second = Trainer(model_settings, training), Trainer(model_settings, training)
    volumes, subjects = starting_volumes(discs[:4], training.start_volumes, (3.0, 2.0, 2.0), training.augmentation, 0)
    first.initialize(volumes, poses, subjects)
    cache = StartCache(tmp_path)
    cache.write('key', first.model.variables)
    assert cache.read('key', second.model.variables)
    for one, other in zip(first.model.variables, second.model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
