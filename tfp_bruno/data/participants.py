"""Tables of subjects as tab-separated text: `participants.tsv`, and the split of a run."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError

# In the order of a population: training subjects first.
SPLITS = ('train', 'validation', 'test')
# Columns that name what subjects have in common, such as the template that they were made from.
GROUPS = ('template', 'family')
MISSING = ('', 'n/a')


def read_participants(path: str | os.PathLike) -> dict[str, str | None]:
    """Reads the participants and their split.

    Args:
        path: Tab-separated table with a header, a column `participant_id` and optionally a column `split`.

    Returns:
        The split (one of `SPLITS`, or None) keyed by participant, whose identifiers are kept as written.

    Raises:
        UserError: If the table cannot be read, has no `participant_id`, a row of another length than its header, an
            unknown split, or one participant in two splits.
    """
    splits: dict[str, str | None] = {}
    for place, fields in _read_rows(pathlib.Path(path)):
        _add_participant(splits, fields, place)
    return splits


def read_groups(path: str | os.PathLike) -> dict[str, str]:
    """Reads which participants belong together: those with the same entry in the first of `GROUPS` that is a column.

    Args:
        path: The table, see `read_participants`.

    Returns:
        The group keyed by participant; a participant without an entry is left out.

    Raises:
        UserError: If the table cannot be read, or one participant is in two groups.
    """
    groups: dict[str, str] = {}
    for place, fields in _read_rows(pathlib.Path(path)):
        column = next((name for name in GROUPS if name in fields), None)
        if column is None or fields[column] in MISSING:
            continue
        name, group = fields['participant_id'], fields[column]
        if groups.setdefault(name, group) != group:
            raise UserError(f'{place}: {name} has two entries of {column} ({groups[name]} and {group}); leave one.')
    return groups


def read_split(path: str | os.PathLike) -> dict[str, str]:
    """Reads a split that `write_split` wrote.

    Args:
        path: Tab-separated table, see `read_participants`.

    Returns:
        'train', 'validation' or 'test' keyed by subject.

    Raises:
        UserError: If the table cannot be read, is malformed, or leaves a subject without a split.
    """
    splits = {}
    for name, split in read_participants(path).items():
        if split is None:
            raise UserError(f'{path}: {name} has no split; write train, validation or test for it.')
        splits[name] = split
    return splits


def write_split(path: str | os.PathLike, splits: Mapping[str, str]) -> None:
    """Writes a split atomically, in the format of `participants.tsv`.

    Args:
        path: Tab-separated table to write.
        splits: 'train', 'validation' or 'test' keyed by subject.

    Raises:
        UserError: If the file cannot be written.
    """
    atomic.write_text(path, format_table(('participant_id', 'split'), splits.items()))


def format_table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Returns a table as tab-separated text."""
    return ''.join('\t'.join(map(str, row)) + '\n' for row in (header, *rows))


def _read_rows(path: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the place of each row, for messages, and its fields by column."""
    header, rows = _read_table(path)
    if 'participant_id' not in header:
        raise UserError(f'{path}: has no column participant_id; name it in the first line, separated by tabs.')
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(f'{path}: line {number} has {len(row)} fields, not {len(header)}; separate them by tabs.')
        yield f'{path}: line {number}', dict(zip(header, row, strict=True))


def _read_table(path: pathlib.Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the header and the rows of a tab-separated table, each row with its line number."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check its permissions.') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: is not UTF-8 text; save it as tab-separated UTF-8.') from error
    cells = [[cell.strip() for cell in line.split('\t')] for line in lines]
    rows = [(number, row) for number, row in enumerate(cells, 1) if any(row)]
    if not rows:
        raise UserError(f'{path}: is empty; give it a header and a row for each subject, or remove it.')
    return rows[0][1], rows[1:]


def _add_participant(splits: dict[str, str | None], fields: Mapping[str, str], place: str) -> None:
    """Adds one row to the splits; `place` names the file and line in messages."""
    name = fields['participant_id']
    if name in MISSING:
        raise UserError(f'{place} has no participant_id; write the name of the subject.')
    value = fields.get('split', '')
    split = None if value in MISSING else value
    if split not in (None, *SPLITS):
        raise UserError(f'{place} has the split {value}; write train, validation or test.')
    if name in splits and splits[name] != split:
        raise UserError(f'{place}: {name} is in two splits ({splits[name]} and {split}); leave it in one.')
    splits[name] = split
