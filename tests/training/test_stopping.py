"""Signals that end a training."""

import os
import signal
import threading

import pytest

from tfp_bruno.training.stopping import catch_signals


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_catch_signals_asks_to_stop(number):
    # A handler of the test: the process that runs it may ignore the signal, as under nohup.
    usual = signal.default_int_handler
    before = signal.signal(number, usual)
    try:
        with catch_signals() as stop:
            assert stop.signal_number is None
            os.kill(os.getpid(), number)
            assert stop.signal_number == number
            # A second one has its usual effect.
            assert signal.getsignal(number) is usual
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_catch_signals_leaves_ignored_signals():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal_number is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_catch_signals_in_another_thread():
    found = []

    def run():
        with catch_signals() as stop:
            found.append(stop.signal_number)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [None]
