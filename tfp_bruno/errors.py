"""Messages to the user: errors that end a command, and warnings that accompany a result."""

import contextlib
import contextvars
from collections.abc import Iterator

from absl import logging

_collected: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar('collected_warnings', default=None)


class UserError(Exception):
    """An argument or a file of the user is wrong.

    The message is one line: the file or argument, what is wrong with it, and the mend. An argument is written between
    backticks, `` `spacing` `` or `` `spacing=2` ``; the commands print it as their flag, `--spacing`, on stderr without
    a traceback, and exit with status 1. A Python caller catches the error like any exception.
    """


def warn(message: str) -> None:
    """Logs a warning, and records it in the innermost `collect_warnings` of this thread.

    Args:
        message: One line: the file or argument, what is unusual about it, and what was done.
    """
    # From the caller's place in the code, as absl reports it.
    logging.get_absl_logger().warning('%s', message, stacklevel=2)
    messages = _collected.get()
    if messages is not None and message not in messages:
        messages.append(message)


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Records the warnings of a block, so that they can be written beside its result.

    Each thread, and each nested block, records its own.

    Yields:
        A list that grows with each call of `warn`; a repeated message is listed once.
    """
    messages: list[str] = []
    token = _collected.set(messages)
    try:
        yield messages
    finally:
        _collected.reset(token)
