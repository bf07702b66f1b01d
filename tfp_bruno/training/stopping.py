"""Signals that end a training: its state is saved first."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class TrainingStoppedError(Exception):
    """A signal ended the training, and its state is saved; `signal_number` says which."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """Whether a signal asked the training to stop.

    Attributes:
        signal_number: Number of the signal; None while there was none.
    """

    signal_number: int | None = None


@contextlib.contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Catches the first SIGINT, SIGTERM or SIGHUP; a second one has its usual effect, at once.

    In another thread than the main one, signals keep their usual effect.

    Yields:
        The `StopRequest`, which the signal changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        request.signal_number = number
        put_back()

    for number in _SIGNALS:
        # A signal that is ignored, as under nohup, stays so.
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield request
    finally:
        put_back()
