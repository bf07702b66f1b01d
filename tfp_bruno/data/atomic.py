"""Writing files atomically: a reader sees the old file or the whole new one, never a part."""

import contextlib
import os
import pathlib
import tempfile
import uuid
from collections.abc import Iterator

from tfp_bruno.data.plain_text import to_utf8
from tfp_bruno.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path next to `path`; when the block ends without error, that file replaces `path`.

    The temporary name ends with the name of `path`, for writers that choose a format by the suffix.

    Args:
        path: File to write; its folder is created if it is missing.

    Yields:
        The temporary path, in the folder of `path`.

    Raises:
        UserError: If the file cannot be written.
    """
    path = pathlib.Path(path)
    # Numbers of processes may be equal on machines that share the folder.
    temporary = path.with_name(f'.tmp-{uuid.uuid4().hex[:12]}-{path.name}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open('rb+') as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, payload: bytes) -> None:
    """Writes a file atomically.

    Args:
        path: File to write; its folder is created if it is missing.
        payload: Whole content of the file.

    Raises:
        UserError: If the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(payload)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file atomically; arguments and errors are those of `write_bytes`."""
    write_bytes(path, to_utf8(text))


def check_writable(folder: pathlib.Path, argument: str | None = None) -> None:
    """Checks, before long work, that a folder can be created and written; leaves nothing behind.

    Args:
        folder: The folder; if it does not exist, its nearest existing parent is checked.
        argument: Name of the argument that gave the folder, for the message.

    Raises:
        UserError: If the folder cannot be created or written.
    """
    try:
        with tempfile.TemporaryFile(dir=next(path for path in (folder, *folder.parents) if path.exists())):
            pass
    except OSError as error:
        raise _unwritable(f'`{argument}={folder}`' if argument else folder, error) from error


def _unwritable(place: str | os.PathLike, error: OSError) -> UserError:
    """Returns the error of a file or folder that cannot be written."""
    return UserError(f'{place}: cannot be written ({error.strerror or error}); give a folder you can write.')
