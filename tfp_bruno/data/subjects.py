"""The subjects of a folder of volumes, flat or BIDS, with their volumes and masks."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

from tfp_bruno.data.file_names import NameParts, is_broken_link, is_nifti, name_some, parse_name, split_kind, stem_of
from tfp_bruno.data.folder import combine_errors, list_files
from tfp_bruno.data.masks import MaskFinder
from tfp_bruno.data.participants import read_groups, read_participants
from tfp_bruno.data.plain_text import printable
from tfp_bruno.errors import UserError, warn


@dataclasses.dataclass(frozen=True)
class Subject:
    """One volume of one subject.

    Attributes:
        name: Name of the subject: `sub-*` in a BIDS folder or file name; otherwise the file's name without suffix,
            session, run and other entities.
        path: File of the volume; a broken link causes an error only when it is read.
        split: 'train', 'validation', 'test', or None if it is not decided yet.
        session: Session, `ses-*` in its folder or name; empty if there is none.
        mask: File of its mask; None if masks are not used.
        group: Subjects of one group, such as those made from one template, are left out together; empty if unknown.
    """

    name: str
    path: pathlib.Path
    split: str | None = None
    session: str = ''
    mask: pathlib.Path | None = None
    group: str = ''

    @property
    def decided_split(self) -> str:
        """The split.

        Raises:
            ValueError: If it is not decided yet.
        """
        if self.split is None:
            raise ValueError(f'{self.path}: has no split yet')
        return self.split


def find_subjects(data_dir: str | os.PathLike) -> list[Subject]:
    """Lists the volumes of a folder, without masks and label maps, and warns of files that are not used.

    Args:
        data_dir: BIDS folder (`sub-*/[ses-*/]anat/*.nii.gz`) or flat folder of `.nii` and `.nii.gz` files, with or
            without a `participants.tsv`.

    Returns:
        The subjects in the order of their paths; a subject with several sessions has one entry for each volume. Its
        `split` is that of `participants.tsv` if the `split` column is filled there, `group` that of the first of its
        columns `template` and `family`.

    Raises:
        UserError: If the folder is missing, is not a folder, or holds no volumes; if a file is named after another
            subject than its folder, or its name cannot be written to tables; if a subject has volumes of several
            kinds; if `participants.tsv` is malformed or its split leaves out a subject.
    """
    subjects, remarks = _list_subjects(pathlib.Path(data_dir))
    for remark in remarks:
        warn(remark)
    return subjects


def find_training_files(data_dir: str | os.PathLike, use_masks: bool = False) -> list[Subject]:
    """Lists the subjects of a folder for training, and checks that all their files are there before any is read.

    Args:
        data_dir: Folder of volumes, see `find_subjects`.
        use_masks: Whether each volume has a mask beside it, see `MaskFinder`.

    Returns:
        The subjects, with their masks if these are used.

    Raises:
        UserError: If the folder cannot be used, see `find_subjects`, or volumes or masks are missing or broken links.
    """
    subjects, remarks = _list_training_files(pathlib.Path(data_dir), use_masks)
    for remark in remarks:
        warn(remark)
    return subjects


def check_folder(data_dir: str | os.PathLike, use_masks: bool = False) -> None:
    """Raises the errors of `find_training_files` without its warnings, for a check before the folder is used."""
    _list_training_files(pathlib.Path(data_dir), use_masks)


def _list_subjects(data_dir: pathlib.Path) -> tuple[list[Subject], list[str]]:
    """Returns the subjects and the warnings of `find_subjects`."""
    files = list_files(data_dir)
    _check_printable(files.volumes, data_dir)
    parts = [_bids_parts(path, data_dir) for path in files.volumes] if files.is_bids else _flat_parts(files.volumes)
    _check_one_kind(parts, data_dir)
    subjects = [
        Subject(part.subject, path, session=part.session) for part, path in zip(parts, files.volumes, strict=True)
    ]
    table = data_dir / 'participants.tsv'
    if not table.exists():
        return subjects, files.remarks
    subjects, without_volume = _apply_participants(subjects, table)
    if without_volume:
        files.remarks.append(f'{table}: {len(without_volume)} participants have no volume, {without_volume[0]} first.')
    return subjects, files.remarks


def _list_training_files(data_dir: pathlib.Path, use_masks: bool) -> tuple[list[Subject], list[str]]:
    """Returns the subjects and the warnings of `find_training_files`."""
    subjects, remarks = _list_subjects(data_dir)
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


def _check_printable(paths: Iterable[pathlib.Path], data_dir: pathlib.Path) -> None:
    """Raises a UserError if the name of a file or of its folders has control characters or is not UTF-8."""
    for path in paths:
        name = str(path.relative_to(data_dir))
        if printable(name) != name:
            raise UserError(f'{printable(str(path))}: its name has characters that cannot be printed; rename it.')


def _bids_parts(path: pathlib.Path, data_dir: pathlib.Path) -> NameParts:
    """Returns the parts of the name of a file in a BIDS folder, those of its folders included."""
    folder, *below = path.relative_to(data_dir).parts
    if not is_nifti(path):
        # A folder that is a broken link.
        return NameParts(folder, tuple(below), None)
    stem = stem_of(path)
    parts = parse_name(stem if stem.startswith('sub-') else f'{folder}_{stem}')
    if parts.subject != folder:
        raise UserError(f'{path}: is named after {parts.subject}, but lies in {folder}; rename or move it.')
    session = [part for part in below[:1] if part.startswith('ses-') and part not in parts.entities]
    return dataclasses.replace(parts, entities=(*session, *parts.entities))


def _flat_parts(paths: Sequence[pathlib.Path]) -> list[NameParts]:
    """Returns the parts of the names of the files in a flat folder.

    `case_1_ses-1` and `case_1_ses-2` belong to one subject, as do `case_1_T1` and `case_1_T2`; `case_1_T2` without
    another image of `case_1` is the name of a subject.
    """
    parts = [parse_name(stem_of(path)) for path in paths]
    stems = collections.defaultdict(set)
    for part, path in zip(parts, paths, strict=True):
        stems[split_kind(part.subject)[0]].add(stem_of(path))
    named = []
    for part in parts:
        bare, kind = split_kind(part.subject)
        if len(stems[bare]) > 1:
            part = NameParts(bare, part.entities, '_'.join(filter(None, (kind, part.kind))))
        named.append(part)
    return named


def _check_one_kind(parts: Iterable[NameParts], data_dir: pathlib.Path) -> None:
    """Raises a UserError if one subject has volumes of several kinds (BIDS suffixes such as T1w and T2w)."""
    kinds = collections.defaultdict(set)
    for part in parts:
        if part.kind is not None:
            kinds[part.subject].add(part.kind or 'without a suffix')
    for name, found in kinds.items():
        if len(found) > 1:
            raise UserError(
                f'{data_dir}: {name} has volumes of several kinds ({", ".join(sorted(found))}); leave one kind there.'
            )


def _apply_participants(subjects: list[Subject], table: pathlib.Path) -> tuple[list[Subject], list[str]]:
    """Returns the subjects with split and group of `participants.tsv`, and the participants without a volume."""
    listed, groups = read_participants(table), read_groups(table)
    subjects = [dataclasses.replace(subject, group=groups.get(subject.name, '')) for subject in subjects]
    names = {subject.name for subject in subjects}
    without_volume = sorted(set(listed) - names)
    if not any(listed.values()):
        return subjects, without_volume
    for name in sorted(names):
        if not listed.get(name):
            raise UserError(f'{table}: {name} has a volume but no split; write train, validation or test for it.')
    return [dataclasses.replace(subject, split=listed[subject.name]) for subject in subjects], without_volume


def _with_masks(subjects: Sequence[Subject], data_dir: pathlib.Path) -> list[Subject]:
    """Returns the subjects with their masks, or raises one UserError for all without a mask of their own."""
    finder = MaskFinder(subject.path for subject in subjects)
    found, errors = [], []
    for subject in subjects:
        try:
            found.append(dataclasses.replace(subject, mask=finder.find(subject.path)))
        except UserError as error:
            errors.append(error)
    if errors:
        raise combine_errors(errors, data_dir, len(subjects))
    return found
