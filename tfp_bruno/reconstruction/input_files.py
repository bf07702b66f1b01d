"""The files that a completion is made of: read, and recorded, so that it is not taken for one of other files."""

import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfp_bruno.data import Volume, read_mask, read_volume
from tfp_bruno.data.file_names import stem_of
from tfp_bruno.data.masks import is_label_map
from tfp_bruno.data.nifti import read_file
from tfp_bruno.errors import UserError, warn


def describe_inputs(files: Iterable[tuple[str, pathlib.Path]]) -> list[dict[str, str]]:
    """Returns what the sidecar says of the files that a completion is made of.

    Args:
        files: (role, path): 'scan', 'mask', 'slice' or 'reference'.

    Returns:
        'role', 'path' and 'sha256' of each, the latter of the file's bytes.

    Raises:
        UserError: if a file cannot be read.
    """
    return [
        {'role': role, 'path': str(path), 'sha256': hashlib.sha256(read_file(path)).hexdigest()} for role, path in files
    ]


def check_same_inputs(made_of: Mapping[str, str], now: Sequence[Mapping[str, str]], folder: pathlib.Path) -> None:
    """Checks that what lies in a folder was made of the files that are there now.

    Args:
        made_of: SHA-256 of the files that it was made of, keyed by role; of older sidecars it is not known.
        now: what `describe_inputs` says now.
        folder: for the error.

    Raises:
        UserError: if there is another file, or the file has changed.
    """
    mend = '--overwrite, or give another --output_dir.'
    if not made_of:
        raise UserError(f'{folder}: does not say which files it was made of; {mend}')
    for item in now:
        role = item['role']
        if role not in made_of:
            raise UserError(f'{folder}: was made without a {role}; {mend}')
        if made_of[role] != item['sha256']:
            raise UserError(f'{folder}: was made of another {role} than {item["path"]} as it is now; {mend}')
    if len(made_of) > len(now):
        raise UserError(f'{folder}: was made with a mask; {mend}')


def read_scan(
    path: str | os.PathLike, mask_path: str | os.PathLike | None, assume_ras: bool
) -> tuple[Volume, np.ndarray | None]:
    """Reads a scan and its mask, and warns if the scan looks like a label map."""
    scan = read_volume(path, assume_ras)
    mask = None if mask_path is None else read_mask(mask_path, scan, assume_ras)
    if is_label_map(scan.data):
        warn(f'{path}: looks like a label map or a mask; the labels are taken for intensities.')
    return scan, mask


def check_same_scan(before: str, scan: pathlib.Path, folder: pathlib.Path) -> None:
    """Raises a UserError if a folder that may be overwritten holds the result of another scan or session."""
    if _name_in_study(pathlib.Path(before)) != _name_in_study(scan):
        raise UserError(
            f'{folder}: holds the result of {before}, not of {scan}; give another --output_dir, or remove the folder.'
        )


def _name_in_study(path: pathlib.Path) -> tuple[str, ...]:
    """Returns the parts of a path from its subject on; a study may be moved, and its files packed."""
    parts = path.parts[:-1]
    first = next((index for index, part in enumerate(parts) if part.startswith('sub-')), len(parts))
    return (*parts[first:], stem_of(path))
