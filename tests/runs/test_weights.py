"""Weights on disk: a kill at any moment leaves the earlier ones or the new ones."""

import itertools
import os
import pathlib

import pytest
import tensorflow as tf

from tfp_bruno.runs.weights import fingerprint, newest_weights, write_weights


def read(folder):
    variable = tf.Variable(0.0)
    tf.train.Checkpoint(variables=[variable]).read(str(newest_weights(folder))).assert_consumed()
    return float(variable)


def test_write_weights_are_the_newest_and_few_are_kept(tmp_path):
    assert newest_weights(tmp_path) == tmp_path / 'model'
    assert fingerprint(newest_weights(tmp_path)) == ''
    prints = set()
    for value in (1.0, 2.0, 3.0, 4.0):
        write_weights(tmp_path / 'weights', [tf.Variable(value)])
        assert read(tmp_path / 'weights') == value
        prints.add(fingerprint(newest_weights(tmp_path / 'weights')))
    assert len(prints) == 4
    names = {f'model-{number}.{part}' for number in (3, 4) for part in ('index', 'data-00000-of-00001')}
    assert {path.name for path in (tmp_path / 'weights').iterdir()} == names


def test_write_weights_replaces_those_without_a_number(tmp_path):
    tf.train.Checkpoint(variables=[tf.Variable(5.0)]).write(str(tmp_path / 'model'))
    assert read(tmp_path) == 5.0
    for value in (6.0, 7.0):
        write_weights(tmp_path, [tf.Variable(value)])
        assert read(tmp_path) == value
    assert not list(tmp_path.glob('model.*'))


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize('name', ['replace', 'fsync', 'unlink'])
def test_write_weights_leaves_good_weights_after_a_kill(tmp_path, monkeypatch, name):
    values = [1.0, 2.0, 3.0]
    for value in values:
        write_weights(tmp_path, [tf.Variable(value)])
    owner = os if name == 'fsync' else pathlib.Path
    real = getattr(owner, name)
    # Before the first call of a function that changes files, the second, and so on, to the last.
    for number in range(20):
        calls = itertools.count()

        def die(*arguments, number=number, calls=calls, **options):
            if next(calls) == number:
                raise Killed
            return real(*arguments, **options)

        before = read(tmp_path)
        monkeypatch.setattr(owner, name, die)
        try:
            write_weights(tmp_path, [tf.Variable(before + 1.0)])
        except Killed:
            monkeypatch.setattr(owner, name, real)
            assert read(tmp_path) in (before, before + 1.0)
            continue
        assert read(tmp_path) == before + 1.0
        assert len(list(tmp_path.iterdir())) <= 6
        return
    pytest.fail('is always killed')
