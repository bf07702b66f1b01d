"""Strategies by name, and a process without other workers; tests/cli/test_workers.py has two."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.errors import UserError
from tfp_bruno.training import Workers, choose_strategy, wait_for_file
from tfp_bruno.training.strategy import LostWorkerError


class Pair(Workers):
    """The chief of two workers, of which the other one reports a given number."""

    def __init__(self, reported):
        super().__init__(tf.distribute.get_strategy())
        self.count, self.reported = 2, reported

    def gather(self, *values):
        return np.array([values, (self.reported,) * len(values)], np.float64)


@pytest.mark.parametrize('name', ['auto', 'one', 'mirrored'])
def test_one_device_has_the_default_strategy(name):
    assert choose_strategy(name).num_replicas_in_sync == 1


def test_multi_worker_needs_a_cluster(monkeypatch):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    with pytest.raises(UserError, match='TF_CONFIG: is not set'):
        choose_strategy('multi_worker')


def test_a_single_process_is_the_chief():
    workers = Workers(tf.distribute.get_strategy())
    assert (workers.index, workers.count, workers.is_chief) == (0, 1, True)
    np.testing.assert_array_equal(workers.gather(1.5, 2.0), [[1.5, 2.0]])
    assert workers.of_chief(0.1) == 0.1
    assert workers.chief_first(lambda: 'result') == 'result'
    workers.check_equal('settings')
    with pytest.raises(FloatingPointError, match='of this one'), workers.together():
        raise FloatingPointError('of this one')
    with pytest.raises(tf.errors.UnavailableError), workers.watched():
        raise tf.errors.UnavailableError(None, None, 'a file')


@pytest.mark.parametrize(('code', 'kind'), [(1, UserError), (2, FloatingPointError)])
def test_together_raises_the_error_of_another_worker(code, kind):
    with pytest.raises(kind, match='worker 1 ended with an error'), Pair(code).together():
        pass
    with Pair(0).together():
        pass


def test_together_keeps_the_error_of_this_worker():
    with pytest.raises(UserError, match='mine'), Pair(1).together():
        raise UserError('mine')


@pytest.mark.parametrize('error', [tf.errors.UnavailableError, tf.errors.AbortedError])
def test_watched_names_the_mend_if_a_worker_is_lost(error):
    with pytest.raises(LostWorkerError) as caught, Pair(0).watched():
        raise error(None, None, 'Socket closed\nmore')
    assert 'start all workers again, with `resume`' in str(caught.value)


def test_check_equal_finds_other_settings():
    with pytest.raises(UserError, match='other settings'):
        Other(0.0).check_equal('settings')


class Other(Pair):
    """The second of two workers, whose chief reports a given number."""

    def __init__(self, reported):
        super().__init__(reported)
        self.index = 1

    def gather(self, *values):
        return super().gather(*values)[::-1]


def test_chief_first_gives_the_turn_to_the_others():
    assert Other(0.0).chief_first(lambda: 'result') == 'result'
    with pytest.raises(UserError, match='worker 0 ended'):
        Other(1.0).chief_first(lambda: pytest.fail('the chief had an error'))


def test_wait_for_file_returns_when_it_appears(tmp_path):
    timer = threading.Timer(0.3, (tmp_path / 'run.json').touch)
    timer.start()
    began = time.monotonic()
    wait_for_file(tmp_path / 'run.json', seconds=20.0)
    assert 0.2 < time.monotonic() - began < 20.0


def test_wait_for_file_ends_in_one_line(tmp_path):
    with pytest.raises(UserError) as caught:
        wait_for_file(tmp_path / 'run.json', seconds=0.3)
    assert str(caught.value).startswith(f'{tmp_path / "run.json"}: is still not visible 0.3 seconds after')
