"""Writing files so that a reader sees the old one or the whole new one, never a part."""

import contextlib
import os
import pathlib
import threading
from collections.abc import Iterator

from tfp_bruno.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary name beside `path`; what was written there replaces `path` when the block ends well.

    The temporary name has the suffixes of `path`, for writers that choose a format by it.

    Args:
        path: the file to write; its folder is made if it is missing.

    Yields:
        The temporary path, in the folder of `path`.

    Raises:
        UserError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f'.tmp-{os.getpid()}-{threading.get_ident()}-{path.name}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open('rb+') as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f'{path}: cannot be written ({error.strerror or error}); give a folder you can write.'
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, payload: bytes) -> None:
    """Writes a file atomically.

    Args:
        path: the file to write; its folder is made if it is missing.
        payload: its whole content.

    Raises:
        UserError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(payload)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file atomically; the arguments and errors are those of `write_bytes`."""
    write_bytes(path, text.encode('utf-8'))
