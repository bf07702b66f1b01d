"""The sidecar `reconstruction.json` of a completed volume, by which it is recognised when it is made again."""

import contextlib
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfp_bruno.data.file_names import stem_of
from tfp_bruno.data.nifti import read_file
from tfp_bruno.errors import UserError
from tfp_bruno.version import __version__

SIDECAR = 'reconstruction.json'
PACKAGES = ('numpy', 'scipy', 'nibabel', 'tensorflow', 'tensorflow-probability')
_MEND = 'set `overwrite`, or give another `output_dir`.'


def describe_inputs(files: Iterable[tuple[str, pathlib.Path]]) -> list[dict[str, str]]:
    """Returns the record of the input files.

    Args:
        files: (role, path) of each; the role is 'scan', 'mask', 'slice' or 'reference'.

    Returns:
        'role', 'path' and 'sha256', the hash of the file's bytes, of each.

    Raises:
        UserError: If a file cannot be read.
    """
    return [
        {'role': role, 'path': str(path), 'sha256': hashlib.sha256(read_file(path)).hexdigest()} for role, path in files
    ]


def describe_versions() -> dict[str, str | None]:
    """Returns the versions of this library and of the packages that it needs; None for one that is not installed."""
    versions: dict[str, str | None] = {'tfp_bruno': __version__} | dict.fromkeys(PACKAGES)
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def check_same_completion(
    sidecar: pathlib.Path, expected: Mapping[str, Any], inputs: Sequence[Mapping[str, str]], weights: str = ''
) -> None:
    """Checks that a complete volume was made from the same files, by the same model, with the same settings.

    Args:
        sidecar: The sidecar of the volume.
        expected: Entries that the sidecar must have; of 'intensity', its kind.
        inputs: The input files as they are now, see `describe_inputs`.
        weights: Hash of the weights of the model; empty if it has none.

    Raises:
        UserError: If the sidecar is damaged, or a file, the model or a setting differs.
    """
    folder = sidecar.parent
    try:
        before = json.loads(sidecar.read_text(encoding='utf-8'))
        # Sidecars of older versions do not record a temperature or an alignment.
        made_with = {'temperature': 1.0, 'alignment': None, **before, 'intensity': before['intensity']['kind']}
        made_of = {item['role']: item['sha256'] for item in before.get('inputs', ())}
        made_by = before['training'].get('weights', '')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{sidecar}: is damaged ({error!r:.80}); remove its folder, or set `overwrite`.') from error
    _check_same_inputs(made_of, inputs, folder)
    if made_by != weights:
        raise UserError(f'{folder}: was made by another model, or before it was trained further; {_MEND}')
    for name, value in expected.items():
        if made_with.get(name) != value:
            raise UserError(f'{folder}: was made with {name} {made_with.get(name)}, not {value}; {_MEND}')


def _check_same_inputs(made_of: Mapping[str, str], inputs: Sequence[Mapping[str, str]], folder: pathlib.Path) -> None:
    """Raises a UserError if the SHA-256 of the files of a completion, keyed by role, are not those of the inputs."""
    if not made_of:
        raise UserError(f'{folder}: does not record the files it was made from; {_MEND}')
    for item in inputs:
        role = item['role']
        if role not in made_of:
            raise UserError(f'{folder}: was made without a {role}; {_MEND}')
        if made_of[role] != item['sha256']:
            raise UserError(f'{folder}: was made from another {role} than {item["path"]} as it is now; {_MEND}')
    if len(made_of) > len(inputs):
        raise UserError(f'{folder}: was made with a mask; {_MEND}')


def check_same_scan(sidecar: pathlib.Path, scan: pathlib.Path) -> None:
    """Checks that a folder that may be overwritten holds the result of the same scan and session.

    A sidecar that is damaged may be overwritten.

    Raises:
        UserError: If it holds the result of another one.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        before = json.loads(sidecar.read_text(encoding='utf-8'))['files'][0]
        if _name_in_study(pathlib.Path(before)) != _name_in_study(scan):
            raise UserError(
                f'{sidecar.parent}: holds the result of {before}, not of {scan}; give another `output_dir`, or remove '
                'the folder.'
            )


def _name_in_study(path: pathlib.Path) -> tuple[str, ...]:
    """Returns the parts of a path from its subject on, without suffix: the same in a copy of the study elsewhere."""
    parts = path.parts[:-1]
    first = next((index for index, part in enumerate(parts) if part.startswith('sub-')), len(parts))
    return (*parts[first:], stem_of(path))
