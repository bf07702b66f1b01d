"""Output folders that appear complete or not at all, and keep the other files that are in them."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

from tfp_bruno.errors import UserError


def check_output_dir(output_dir: str | os.PathLike, overwrite: bool) -> None:
    """Checks that a folder can be written, before any long work, and leaves nothing there.

    Args:
        output_dir: The folder; it need not exist.
        overwrite: Whether it may already hold files.

    Raises:
        UserError: If it is a file, holds files without `overwrite`, or cannot be written.
    """
    output_dir = pathlib.Path(output_dir)
    try:
        if output_dir.is_dir() and any(output_dir.iterdir()) and not overwrite:
            raise UserError(f'{output_dir}: is not empty; give another `output_dir`, or set `overwrite`.')
        with _staging(output_dir):
            pass
    except OSError as error:
        raise _unwritable(output_dir, error) from error


@contextlib.contextmanager
def staged(output_dir: str | os.PathLike, overwrite: bool, replaces: Iterable[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary folder whose files move to `output_dir` when the block ends without an error.

    A new output folder appears complete. One that exists keeps its other files: files of the same name are replaced one
    by one, and those that match `replaces` and were not written again are removed.

    Args:
        output_dir: The folder.
        overwrite: Whether it may already hold files.
        replaces: Glob patterns, relative to `output_dir`, of the files of an earlier result.

    Yields:
        The temporary folder, on the same file system.

    Raises:
        UserError: If the folder is a file, holds files without `overwrite`, or cannot be written.
    """
    output_dir = pathlib.Path(output_dir)
    check_output_dir(output_dir, overwrite)
    try:
        with _staging(output_dir) as folder:
            yield folder
            _publish(folder, output_dir, replaces)
    except OSError as error:
        raise _unwritable(output_dir, error) from error


@contextlib.contextmanager
def _staging(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty temporary folder: in the output folder if that exists, otherwise beside it."""
    exists = output_dir.exists()
    parent = output_dir if exists else output_dir.absolute().parent
    made = [] if exists else _missing_parents(parent)
    folder = parent / f'.tmp-{os.getpid()}-{output_dir.name}'
    try:
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # Parents that were made for this and are still empty.
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _missing_parents(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns a path and those of its parents that do not exist, innermost first."""
    return [candidate for candidate in (path, *path.parents) if not candidate.exists()]


def _publish(folder: pathlib.Path, output_dir: pathlib.Path, replaces: Iterable[str]) -> None:
    """Moves the staged files into place."""
    if not output_dir.exists():
        folder.replace(output_dir)
        return
    files = sorted(path.relative_to(folder) for path in folder.rglob('*') if path.is_file())
    for stale in [path for pattern in replaces for path in output_dir.glob(pattern)]:
        if stale.is_file() and stale.relative_to(output_dir) not in files:
            stale.unlink()
    for file in files:
        (output_dir / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).replace(output_dir / file)


def _unwritable(output_dir: pathlib.Path, error: OSError) -> UserError:
    """Returns the error of a folder that cannot be written."""
    return UserError(f'{output_dir}: cannot be written ({error.strerror or error}); give another `output_dir`.')
