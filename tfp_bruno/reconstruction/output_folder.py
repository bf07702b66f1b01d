"""Output folders that appear complete or not at all, and keep the other files that are in them."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator, Sequence

from tfp_bruno.data import atomic
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
def staged(output_dir: str | os.PathLike, overwrite: bool, sidecar: str) -> Iterator[pathlib.Path]:
    """Yields a temporary folder whose files move to `output_dir` when the block ends without an error.

    A new output folder appears complete. One that exists is complete when it has a sidecar, which is removed first and
    written last. It keeps its other files: files of the same name are replaced one by one, and those that an earlier
    result wrote, which nobody changed since, are removed.

    Args:
        output_dir: The folder.
        overwrite: Whether it may already hold files.
        sidecar: Name of a JSON file that the block writes; the names and hashes of the other files are added to it.

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
            _publish(folder, output_dir, sidecar)
    except OSError as error:
        raise _unwritable(output_dir, error) from error


@contextlib.contextmanager
def _staging(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty temporary folder: in the output folder if that exists, otherwise beside it."""
    exists = output_dir.exists()
    parent = output_dir if exists else output_dir.absolute().parent
    made = [] if exists else _missing_parents(parent)
    # Numbers of processes may be equal on machines that share the folder.
    folder = parent / f'.tmp-{uuid.uuid4().hex[:12]}-{output_dir.name}'
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


def _publish(folder: pathlib.Path, output_dir: pathlib.Path, sidecar: str) -> None:
    """Moves the staged files into place."""
    files = [path.relative_to(folder) for path in sorted(folder.rglob('*')) if path.is_file()]
    files.remove(pathlib.Path(sidecar))
    outputs = [[file.as_posix(), _hash(folder / file)] for file in files]
    about = json.loads((folder / sidecar).read_text(encoding='utf-8'))
    (folder / sidecar).write_text(json.dumps({**about, 'outputs': outputs}, indent=2) + '\n', encoding='utf-8')
    if not output_dir.exists():
        folder.replace(output_dir)
        return
    # What belongs to the earlier result, to this one, and to another that was interrupted here.
    earlier, listed = output_dir / sidecar, output_dir / f'.{sidecar}.part'
    known = [*_outputs_of(earlier), *_outputs_of(listed)]
    atomic.write_text(listed, json.dumps({'outputs': [*known, *outputs]}))
    earlier.unlink(missing_ok=True)
    _remove_unchanged(output_dir, [output for output in known if pathlib.Path(output[0]) not in files])
    for file in (*files, pathlib.Path(sidecar)):
        (output_dir / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).replace(output_dir / file)
    listed.unlink()


def _outputs_of(sidecar: pathlib.Path) -> list[list[str]]:
    """Returns name and hash of each file that a sidecar lists; none if there is no sidecar, or it is damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        outputs = json.loads(sidecar.read_text(encoding='utf-8'))['outputs']
        return [[str(name), str(digest)] for name, digest in outputs]
    return []


def _remove_unchanged(output_dir: pathlib.Path, outputs: Sequence[Sequence[str]]) -> None:
    """Removes the files of a folder that have the listed names and hashes."""
    for name, digest in outputs:
        path = output_dir / name
        is_inside = '..' not in path.parts and path.is_relative_to(output_dir)
        if is_inside and path.is_file() and _hash(path) == digest:
            path.unlink()


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unwritable(output_dir: pathlib.Path, error: OSError) -> UserError:
    """Returns the error of a folder that cannot be written."""
    return UserError(f'{output_dir}: cannot be written ({error.strerror or error}); give another `output_dir`.')
