"""Files of arrays and texts in the safetensors format: opening one runs no code, and damage is noticed."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tfp_bruno.data.atomic import write_bytes
from tfp_bruno.errors import UserError

_FORMAT = 1
# Entries of the file's metadata beside the texts of the content.
_KIND, _NUMBER, _DIGEST = 'tfp_bruno', 'format', 'sha256'


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """The content of a file.

    Attributes:
        kind: What it is the content of, such as 'model'.
        arrays: Arrays by name.
        texts: Texts by name, but for 'tfp_bruno', 'format' and 'sha256'.
    """

    kind: str
    arrays: Mapping[str, np.ndarray]
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the file."""
        content = hashlib.sha256(json.dumps([self.kind, dict(self.texts)], sort_keys=True).encode())
        for name in sorted(self.arrays):
            values = np.asarray(self.arrays[name], order='C')
            content.update(repr((name, values.dtype.str, values.shape)).encode())
            content.update(values.reshape(-1).view(np.uint8).data)
        return content.hexdigest()


def write_tensors(path: str | os.PathLike, content: TensorFile) -> None:
    """Writes a file atomically.

    Args:
        path: The file.
        content: Its content.

    Raises:
        UserError: If the file cannot be written.
    """
    arrays = {name: np.asarray(values, order='C') for name, values in content.arrays.items()}
    metadata = {**content.texts, _KIND: content.kind, _NUMBER: str(_FORMAT), _DIGEST: content.digest}
    write_bytes(path, safetensors.numpy.save(arrays, metadata))


def read_tensors(path: str | os.PathLike, kind: str) -> TensorFile:
    """Reads a file that `write_tensors` wrote.

    Args:
        path: The file.
        kind: What it must be the content of.

    Raises:
        UserError: If the file is missing, of another kind, cut short, changed, or of a newer format.
    """
    with _opened(path, kind) as (file, metadata):
        names = file.keys()
        arrays = {name: file.get_tensor(name) for name in names}
    content = TensorFile(kind, arrays, _texts(metadata))
    if content.digest != metadata[_DIGEST]:
        raise UserError(f'{path}: is damaged (its checksum is another one); copy or write it again.')
    return content


def read_texts(path: str | os.PathLike, kind: str) -> dict[str, str]:
    """Returns the texts of a file, without reading its arrays; arguments and errors as `read_tensors`."""
    with _opened(path, kind) as (_, metadata):
        return _texts(metadata)


def read_digest(path: str | os.PathLike, kind: str) -> str:
    """Returns the digest in a file, without reading its arrays; arguments and errors as `read_tensors`."""
    with _opened(path, kind) as (_, metadata):
        return metadata[_DIGEST]


@contextlib.contextmanager
def _opened(path: str | os.PathLike, kind: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yields an open file with its metadata, which are those of a file of this kind and format."""
    try:
        with safetensors.safe_open(path, framework='np') as file:
            metadata = file.metadata() or {}
            if metadata.get(_KIND) != kind or not {_NUMBER, _DIGEST} <= metadata.keys():
                raise UserError(f'{path}: was not written as a {kind} by this library; give another file.')
            if metadata[_NUMBER] != str(_FORMAT):
                raise UserError(
                    f'{path}: was written in format {metadata[_NUMBER]} by another version of this library, which '
                    f'reads format {_FORMAT}; install that version.'
                )
            yield file, metadata
    except (OSError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(f'{path}: is not a {kind}, or is damaged ({reason}); copy or write it again.') from error


def _texts(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in metadata.items() if name not in (_KIND, _NUMBER, _DIGEST)}
