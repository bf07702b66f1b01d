"""Reading `participants.tsv`: who the subjects are and, where it says so, which split they belong to."""

import os
import pathlib

from tfp_bruno.errors import UserError

SPLITS = ('train', 'test')
MISSING = ('', 'n/a')


def read_participants(path: str | os.PathLike) -> dict[str, str | None]:
    """Reads the participants and their split.

    Args:
        path: a tab-separated table with a header, the column `participant_id` and, optionally, `split`.

    Returns:
        The split ('train', 'test' or None) keyed by participant. The identifiers are as written.

    Raises:
        UserError: if the table cannot be read, has no `participant_id`, a row of another length than its header, an
            unknown split, or one participant in both splits.
    """
    path = pathlib.Path(path)
    header, rows = _read_table(path)
    if 'participant_id' not in header:
        raise UserError(f'{path}: has no column participant_id; name it in the first line, separated by tabs.')
    splits: dict[str, str | None] = {}
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(f'{path}: line {number} has {len(row)} fields, not {len(header)}; separate them by tabs.')
        fields = dict(zip(header, row, strict=True))
        _add_participant(splits, fields, f'{path}: line {number}')
    return splits


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


def _add_participant(splits: dict[str, str | None], fields: dict[str, str], place: str) -> None:
    """Adds one row to the splits; `place` names the file and line in errors."""
    name = fields['participant_id']
    if name in MISSING:
        raise UserError(f'{place} has no participant_id; write the name of the subject.')
    value = fields.get('split', '')
    split = None if value in MISSING else value
    if split not in (None, *SPLITS):
        raise UserError(f'{place} has the split {value}; write train or test.')
    if name in splits and splits[name] != split:
        raise UserError(f'{place}: {name} is in both splits ({splits[name]} and {split}); leave it in one.')
    splits[name] = split
