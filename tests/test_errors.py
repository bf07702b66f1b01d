"""Warnings reach the log and the innermost block that collects them."""

import concurrent.futures
import logging

from tfp_bruno.errors import collect_warnings, warn


def test_collect_warnings_lists_each_warning_once(caplog):
    with caplog.at_level(logging.WARNING), collect_warnings() as messages:
        warn('a.nii: one')
        warn('a.nii: two')
        warn('a.nii: one')
    assert messages == ['a.nii: one', 'a.nii: two']


def test_nested_blocks_collect_separately():
    with collect_warnings() as outer:
        warn('outer')
        with collect_warnings() as inner:
            warn('inner')
        warn('outer again')
    assert outer == ['outer', 'outer again']
    assert inner == ['inner']


def test_threads_collect_separately():
    def collect(name):
        with collect_warnings() as messages:
            warn(name)
        return messages

    with collect_warnings() as outer, concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert list(executor.map(collect, 'abcd')) == [['a'], ['b'], ['c'], ['d']]
    assert outer == []


def test_warn_outside_a_block():
    warn('not collected')
