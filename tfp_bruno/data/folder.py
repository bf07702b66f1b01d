"""The subjects of a folder of volumes, flat or BIDS, and their volumes."""

import dataclasses
import os
import pathlib
import re

from absl import logging

from tfp_bruno.data import participants
from tfp_bruno.errors import UserError

SUFFIXES = ('.nii', '.nii.gz')
# A file with one of these words in its name holds labels, not intensities.
LABEL_WORDS = {'mask', 'masks', 'brainmask', 'seg', 'dseg', 'probseg', 'segmentation', 'label', 'labels'}


@dataclasses.dataclass(frozen=True)
class Subject:
    """One volume of one subject.

    Attributes:
        name: the subject: `sub-*` in a BIDS folder or file name, else the file's name without its suffix.
        path: the volume's file.
        split: 'train', 'test', or None as long as it is not decided.
    """

    name: str
    path: pathlib.Path
    split: str | None = None


def find_subjects(data_dir: str | os.PathLike) -> list[Subject]:
    """Lists the volumes of a folder, without masks and label maps.

    Args:
        data_dir: a BIDS folder (`sub-*/[ses-*/]anat/*.nii.gz`) or a flat folder of `.nii` and `.nii.gz` files, with or
            without a `participants.tsv`.

    Returns:
        The subjects in the order of their paths; a subject with several sessions stands once for each volume. `split`
        is that of `participants.tsv` where its `split` column is filled.

    Raises:
        UserError: if the folder is missing, no folder, or holds no volumes; if a subject has volumes of several kinds;
            if `participants.tsv` is malformed or its split leaves out a subject.
    """
    data_dir = pathlib.Path(data_dir)
    volumes = _list_volumes(data_dir)
    subjects = [Subject(_subject_name(path), path) for path in volumes]
    _check_one_kind(subjects, data_dir)
    return _apply_participants(subjects, data_dir / 'participants.tsv')


def _list_volumes(data_dir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the paths of the volumes of a folder, sorted."""
    if not data_dir.exists():
        raise UserError(f'{data_dir}: there is no such folder; give a folder of NIfTI volumes.')
    if not data_dir.is_dir():
        raise UserError(f'{data_dir}: is not a folder; give the folder that holds the volumes.')
    try:
        inside = list(data_dir.iterdir())
    except OSError as error:
        raise UserError(f'{data_dir}: cannot be read ({error.strerror}); check its permissions.') from error
    folders = [path for path in inside if path.name.startswith('sub-') and path.is_dir()]
    if folders:
        inside = [path for folder in folders for part in ('anat/*', 'ses-*/anat/*') for path in folder.glob(part)]
    volumes = sorted(path for path in inside if _is_volume(path))
    if not volumes:
        raise UserError(
            f'{data_dir}: holds no volumes; put .nii or .nii.gz files in it, or in sub-*/anat or sub-*/ses-*/anat.'
        )
    return volumes


def _is_volume(path: pathlib.Path) -> bool:
    """Tells whether a path is a NIfTI file of intensities, by its name."""
    if path.name.startswith('.') or not path.name.endswith(SUFFIXES) or not path.is_file():
        return False
    return LABEL_WORDS.isdisjoint(re.split(r'[_\-. ]', path.name.lower()))


def _stem(path: pathlib.Path) -> str:
    """Returns a volume's file name without `.nii` or `.nii.gz`."""
    return path.name.removesuffix('.gz').removesuffix('.nii')


def _subject_name(path: pathlib.Path) -> str:
    """Returns the subject of a volume."""
    entity = re.match(r'sub-[^_]+(?=_|$)', _stem(path))
    if entity:
        return entity.group()
    folder = [parent.name for parent in path.parents if parent.name.startswith('sub-')]
    return folder[0] if path.parent.name == 'anat' and folder else _stem(path)


def _check_one_kind(subjects: list[Subject], data_dir: pathlib.Path) -> None:
    """Raises a UserError if one subject has volumes of several kinds (BIDS suffixes such as T1w and T2w)."""
    kinds = {}
    for subject in subjects:
        kinds.setdefault(subject.name, set()).add(_stem(subject.path).rpartition('_')[2])
    for name, found in kinds.items():
        if len(found) > 1:
            raise UserError(
                f'{data_dir}: {name} has volumes of several kinds ({", ".join(sorted(found))}); leave one kind there.'
            )


def _apply_participants(subjects: list[Subject], table: pathlib.Path) -> list[Subject]:
    """Returns the subjects with the split of `participants.tsv`, if there is one."""
    if not table.exists():
        return subjects
    listed = participants.read_participants(table)
    names = {subject.name for subject in subjects}
    without_volume = sorted(set(listed) - names)
    if without_volume:
        logging.warning('%s: %d participants have no volume, %s first.', table, len(without_volume), without_volume[0])
    if not any(listed.values()):
        return subjects
    for name in sorted(names):
        if not listed.get(name):
            raise UserError(f'{table}: {name} has a volume but no split; write train or test for it.')
    return [dataclasses.replace(subject, split=listed[subject.name]) for subject in subjects]
