"""The averaged weights of a run on disk: new ones replace the old ones in one move."""

import hashlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterable

import tensorflow as tf

from tfp_bruno.runs.loadings import loadings_digest

# Those before the newest are kept for a reader that has just found them.
_KEPT = 2


def newest_weights(folder: pathlib.Path) -> pathlib.Path:
    """Returns the path prefix of the newest complete weights, a TensorFlow checkpoint.

    Args:
        folder: Their folder. It holds `model-NUMBER.index` and a file of data for each, or `model.index` from a version
            that did not number them.

    Returns:
        The prefix; `folder/model` if there are none.
    """
    numbers = _numbers(folder)
    return folder / _name(numbers[-1] if numbers else 0)


def write_weights(folder: pathlib.Path, variables: Iterable[tf.Variable]) -> None:
    """Writes weights under a new number, then removes all but the last few.

    Args:
        folder: Their folder, made if it is missing. Nobody else may write there.
        variables: The variables of the model.

    Raises:
        OSError: If the folder cannot be written.
        tf.errors.OpError: The same, from TensorFlow.
    """
    numbers = _numbers(folder)
    number = numbers[-1] + 1 if numbers else 1
    scratch = folder / '.tmp'
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        tf.train.Checkpoint(variables=list(variables)).write(str(scratch / 'model'))
        # The index last: with it the new weights are complete.
        for path in sorted(scratch.iterdir(), key=lambda path: path.suffix == '.index'):
            with path.open('rb+') as file:
                os.fsync(file.fileno())
            path.replace(folder / path.name.replace('model', _name(number), 1))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for old in _numbers(folder)[:-_KEPT]:
        # The index first: without it they no longer count.
        for path in sorted(folder.glob(f'{_name(old)}.*'), key=lambda path: path.suffix != '.index'):
            path.unlink(missing_ok=True)


def fingerprint(weights: pathlib.Path, loadings: pathlib.Path | None = None) -> str:
    """Returns a hash of weights, and of the file of the loadings that belong to them; empty if there are no weights.

    Args:
        weights: Prefix of the weights, whose index holds a checksum of every tensor.
        loadings: File of the loadings, which need not exist.

    Raises:
        UserError: If the file of the loadings cannot be read.
    """
    index = weights.with_name(f'{weights.name}.index')
    if not index.is_file():
        return ''
    content = hashlib.sha256(index.read_bytes())
    if loadings is not None and loadings.exists():
        content.update(loadings_digest(loadings).encode())
    return content.hexdigest()


def _numbers(folder: pathlib.Path) -> list[int]:
    """Returns the numbers of the complete weights, in order; 0 for those without a number."""
    found = (re.fullmatch(r'model(?:-(\d+))?\.index', path.name) for path in folder.glob('model*.index'))
    return sorted(int(match[1] or 0) for match in found if match)


def _name(number: int) -> str:
    return f'model-{number}' if number else 'model'
