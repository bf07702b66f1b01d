"""The files that a population is read from, checked before any of them is read."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from tfp_bruno.data.failures import one_error
from tfp_bruno.data.file_names import is_broken_link, name_some
from tfp_bruno.data.folder import Subject, list_subjects
from tfp_bruno.data.masks import MaskFinder
from tfp_bruno.errors import UserError, warn


def check_folder(data_dir: str | os.PathLike, use_masks: bool = False) -> None:
    """Raises the UserErrors of `find_training_files` without a warning: what comes after it will warn."""
    _list(pathlib.Path(data_dir), use_masks)


def find_training_files(data_dir: str | os.PathLike, use_masks: bool = False) -> list[Subject]:
    """Lists the subjects of a folder, each with its mask.

    Args:
        data_dir: as of `find_subjects`.
        use_masks: whether each volume has a mask beside it.

    Returns:
        The subjects.

    Raises:
        UserError: as `find_subjects`, or if volumes or masks are missing: links whose content was not fetched, say.
    """
    subjects, remarks = _list(pathlib.Path(data_dir), use_masks)
    for remark in remarks:
        warn(remark)
    return subjects


def _list(data_dir: pathlib.Path, use_masks: bool) -> tuple[list[Subject], list[str]]:
    """Returns the subjects with their masks, and the warnings."""
    subjects, remarks = list_subjects(data_dir)
    if use_masks:
        subjects = _with_masks(subjects, data_dir)
    files = [path for subject in subjects for path in (subject.path, subject.mask) if path is not None]
    broken = [path for path in files if is_broken_link(path)]
    if broken:
        raise UserError(
            f'{data_dir}: the content of {len(broken)} of {len(files)} files is not there: broken links '
            f'({name_some(broken)}); fetch it, e.g. with git annex get or datalad get.'
        )
    return subjects, remarks


def _with_masks(subjects: Sequence[Subject], data_dir: pathlib.Path) -> list[Subject]:
    """Returns the subjects with their masks, or raises one UserError for all that have none of their own."""
    finder = MaskFinder(subject.path for subject in subjects)
    found, errors = [], []
    for subject in subjects:
        try:
            found.append(dataclasses.replace(subject, mask=finder.find(subject.path)))
        except UserError as error:
            errors.append(error)
    if errors:
        raise one_error(errors, data_dir, len(subjects))
    return found
