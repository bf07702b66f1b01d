"""The files of a folder of volumes, flat or BIDS: which are volumes, and which are left out with a warning."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from absl import logging

from tfp_bruno.data.file_names import (
    derived_from,
    is_broken_link,
    is_labels,
    is_nifti,
    is_other_image,
    name_some,
    stem_of,
)
from tfp_bruno.errors import UserError

MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class FolderFiles:
    """Contents of a folder of volumes.

    Attributes:
        is_bids: Whether there are `sub-*` folders.
        volumes: NIfTI files of intensities, judged by their names, and broken links in place of files or folders.
        remarks: One warning for each kind of file that is not used.
    """

    is_bids: bool
    volumes: list[pathlib.Path]
    remarks: list[str]


def list_files(data_dir: pathlib.Path) -> FolderFiles:
    """Lists the volumes of a folder, sorted.

    Args:
        data_dir: BIDS folder (`sub-*/[ses-*/]anat/*.nii.gz`) or flat folder of `.nii` and `.nii.gz` files.

    Raises:
        UserError: If the folder is missing, is not a folder, cannot be read, or holds no volumes.
    """
    if not data_dir.exists():
        raise UserError(f'{data_dir}: there is no such folder; give a folder of NIfTI volumes.')
    if not data_dir.is_dir():
        raise UserError(f'{data_dir}: is not a folder; give the folder that holds the volumes.')
    files = _inside(data_dir)
    missing: list[pathlib.Path] = []
    remarks: list[str] = []
    folders = [path for path in files if path.name.startswith('sub-') and (path.is_dir() or _is_broken_folder(path))]
    if folders:
        flat = [path for path in files if _is_volume(path)]
        files, missing, elsewhere, without = _list_bids(folders)
        _remark(
            remarks,
            flat + elsewhere,
            'volumes lie outside sub-*/anat and sub-*/ses-*/anat and are not used',
            'move them there, or away',
        )
        _remark(remarks, without, 'of its sub-* folders hold no volume', 'put one in their anat, or remove them')
    others = [path for path in files if is_other_image(path)]
    _remark(remarks, others, 'images of other formats are not read', 'convert them to .nii.gz')
    volumes, derived = _split_derived([path for path in files if _is_volume(path)])
    _remark(
        remarks,
        derived,
        'files are left out, since by their names they are derived from another file beside them',
        'to use one of them, remove the other',
    )
    if not volumes and not missing:
        instead = f' {remarks[0]}' if remarks else ''
        raise UserError(
            f'{data_dir}: holds no volumes; put .nii or .nii.gz files in it, or in sub-*/anat or '
            f'sub-*/ses-*/anat.{instead}'
        )
    return FolderFiles(bool(folders), sorted(volumes + missing), [f'{data_dir}: {remark}' for remark in remarks])


def combine_errors(errors: Sequence[UserError], folder: pathlib.Path, total: int) -> UserError:
    """Returns one error for all files of a folder that cannot be used.

    Args:
        errors: One error for each file that cannot be used.
        folder: Folder of the files.
        total: Number of files.

    Returns:
        The error itself if it is the only one; otherwise an error that counts them and names up to five with their
        reasons. If there are more than five, each is also logged as a warning.
    """
    if len(errors) == 1:
        return errors[0]
    reasons = [str(error).removeprefix(f'{folder}{os.sep}') for error in errors]
    named = ' '.join(f'({number}) {reason}' for number, reason in enumerate(reasons[:MOST_NAMED], 1))
    more = ''
    if len(errors) > MOST_NAMED:
        for error in errors:
            logging.warning('%s', error)
        more = f' The other {len(errors) - MOST_NAMED} are listed above.'
    return UserError(f'{folder}: {len(errors)} of {total} files cannot be used: {named}{more}')


def _remark(remarks: list[str], paths: list[pathlib.Path], what: str, remedy: str) -> None:
    """Adds the warning about files that are not used, if there are any."""
    if paths:
        remarks.append(f'{len(paths)} {what} ({name_some(paths)}); {remedy}.')


def _list_bids(folders: Iterable[pathlib.Path]) -> tuple[list[pathlib.Path], ...]:
    """Lists BIDS folders of subjects.

    Returns:
        The files in `sub-*/[ses-*/]anat`, folders that are broken links, volumes outside `anat`, and folders of
        subjects without a volume.
    """
    files: list[pathlib.Path] = []
    missing: list[pathlib.Path] = []
    elsewhere: list[pathlib.Path] = []
    without: list[pathlib.Path] = []
    for folder in folders:
        levels = [folder, *(path for path in _inside(folder) if path.name.startswith('ses-'))]
        broken = [path for level in levels for path in (level, level / 'anat') if _is_broken_folder(path)]
        inside = [path for level in levels for path in _inside(level / 'anat')]
        if not broken and not any(map(_is_volume, inside)):
            without.append(folder)
        files, missing = files + inside, missing + broken
        elsewhere += [path for level in levels for path in _inside(level) if _is_volume(path)]
    return files, missing, elsewhere, without


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the sorted contents of a folder; an empty list for any other path."""
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UserError(f'{folder}: cannot be read ({error.strerror}); check its permissions.') from error


def _is_broken_folder(path: pathlib.Path) -> bool:
    """Returns whether a path is a broken link in place of a folder, judged by its name."""
    return '.' not in path.name and is_broken_link(path)


def _is_volume(path: pathlib.Path) -> bool:
    """Returns whether a path is a NIfTI file of intensities, judged by its name, or a broken link to one."""
    return is_nifti(path) and not is_labels(path) and (path.is_file() or is_broken_link(path))


def _split_derived(volumes: list[pathlib.Path]) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Returns the original volumes, and those derived from another one in the same folder, judged by their names."""
    stems: dict[pathlib.Path, set[str]] = {}
    for path in volumes:
        stems.setdefault(path.parent, set()).add(stem_of(path))
    derived = [path for path in volumes if derived_from(stem_of(path), stems[path.parent])]
    return [path for path in volumes if path not in set(derived)], derived
