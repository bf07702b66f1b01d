"""Dataset definitions as TOML files: those of the package, and files of the user."""

import importlib.resources
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfp_bruno.data.definitions import PLANES, DatasetDefinition, spread_evenly
from tfp_bruno.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = ('fetal', 'adni', 'thorax')
DEFAULT_COUNTS = (0, 1, 3, 5, 9)
DEFAULT_TEST_SHARE = 0.1
# Limits beyond which a value is more likely a mistake than a model that fits into memory.
MOST_SLICES = 1000
SMALLEST_IMAGE, LARGEST_IMAGE = 8, 1024


def read_definition(path: str | os.PathLike) -> DatasetDefinition:
    """Reads the definition of a user's dataset.

    Args:
        path: TOML file. Required settings are `name`, `field_of_view` (mm), `num_slices` and `stack_share`. Optional
            settings are `percentile` or `window` (two intensities, in Hounsfield units if the first is -100 or less),
            `plane`, `image_size`, `slice_spacing` (mm), `test_share`, and `context_counts` (numbers of contexts of the
            evaluation, which are spread evenly) or a table `context_slices` (their slice numbers, keyed by their
            count).

    Raises:
        UserError: If the file cannot be read, or a setting is unknown, missing, of another type or out of range.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes().decode('utf-8')
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path.') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: is not UTF-8 text; give a TOML file.') from error
    return _parse(content, str(path))


def get_definition(name: str) -> DatasetDefinition:
    """Returns the definition of a dataset of the package.

    Args:
        name: 'fetal', 'adni' or 'thorax'.

    Raises:
        UserError: If there is no dataset of that name.
    """
    if name not in DEFINITIONS:
        raise UserError(
            f'`dataset={name}`: unknown dataset; give one of {", ".join(DEFINITIONS)}, or a `dataset_config`.'
        )
    return DEFINITIONS[name]


def _parse(content: str, place: str) -> DatasetDefinition:
    """Returns the definition in the text of a dataset file; `place` names the file in messages."""
    try:
        settings = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f'{place}: is not TOML ({error}); write lines such as num_slices = 80.') from error
    checks = {
        'name': _is_name,
        'field_of_view': _within(1, 2000),
        'num_slices': _whole(3, MOST_SLICES),
        'stack_share': _within(0.01, 1),
        'test_share': _within(0, 0.9),
        'percentile': _within(50, 100),
        'window': _is_window,
        'image_size': _whole(SMALLEST_IMAGE, LARGEST_IMAGE),
        'slice_spacing': _within(0.01, 100),
        'plane': _one_of(PLANES),
        'context_counts': _is_counts,
        'context_slices': _is_table,
    }
    for key, value in settings.items():
        if key not in checks:
            raise UserError(f'{place}: {key} is not a setting; use one of {", ".join(checks)}.')
        wanted = checks[key](value)
        if wanted:
            raise UserError(f'{place}: {key} = {value}: must be {wanted}.')
    for key in ('name', 'field_of_view', 'num_slices', 'stack_share'):
        if key not in settings:
            raise UserError(f'{place}: {key} is missing; write a line {key} = ...')
    for pair in (('percentile', 'window'), ('context_counts', 'context_slices')):
        if all(key in settings for key in pair):
            raise UserError(f'{place}: {pair[0]} and {pair[1]} exclude each other; leave one out.')
    return _definition(settings, place)


def _definition(settings: Mapping[str, Any], place: str) -> DatasetDefinition:
    """Returns the definition of checked settings."""
    values = {key: value for key, value in settings.items() if key != 'context_counts'}
    num_slices = settings['num_slices']
    if 'window' in settings:
        values |= {'window': tuple(map(float, settings['window'])), 'percentile': None}
    if 'context_slices' in settings:
        values['context_slices'] = _context_slices(settings['context_slices'], num_slices, place)
    else:
        counts = settings.get('context_counts', [count for count in DEFAULT_COUNTS if count < num_slices])
        if max(counts) >= num_slices:
            raise UserError(f'{place}: context_counts = {counts}: must leave slices to complete of {num_slices}.')
        values['context_slices'] = {count: spread_evenly(count, num_slices) for count in counts}
    return DatasetDefinition(**{'test_share': DEFAULT_TEST_SHARE, **values})


def _context_slices(table: Mapping[str, Any], num_slices: int, place: str) -> dict[int, tuple[int, ...]]:
    """Returns the context slices of a table, keyed by their count."""
    slices = {}
    for key, given in table.items():
        where = f'{place}: context_slices.{key} = {given}'
        if not isinstance(given, list) or not all(_is_int(k) and 0 <= k < num_slices for k in given):
            raise UserError(f'{where}: must be slice numbers from 0 to {num_slices - 1}.')
        if key != str(len(set(given))) or len(set(given)) != len(given):
            raise UserError(f'{where}: must be {key} different slice numbers.')
        slices[len(given)] = tuple(sorted(given))
    return slices


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# A check of a setting returns what the value must be, or None if it is valid.
_Check = Callable[[Any], str | None]


def _within(low: float, high: float) -> _Check:
    return lambda value: None if _is_number(value) and low <= value <= high else f'a number from {low} to {high}'


def _whole(low: int, high: int) -> _Check:
    return lambda value: None if _is_int(value) and low <= value <= high else f'a whole number from {low} to {high}'


def _one_of(values: Iterable[str]) -> _Check:
    return lambda value: None if value in list(values) else f'one of {", ".join(values)}'


def _is_name(value: Any) -> str | None:
    good = isinstance(value, str) and value.replace('-', '').replace('_', '').isalnum()
    return None if good else 'letters, digits, - and _, in quotes'


def _is_window(value: Any) -> str | None:
    good = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]
    return None if good else 'two numbers, the lower one first'


def _is_counts(value: Any) -> str | None:
    good = isinstance(value, list) and value and all(_is_int(count) and count >= 0 for count in value)
    return None if good else 'a list of whole numbers'


def _is_table(value: Any) -> str | None:
    return None if isinstance(value, dict) and value else 'a table such as 2 = [20, 60]'


_PACKAGED = importlib.resources.files('tfp_bruno.data') / 'datasets'
DEFINITIONS: Mapping[str, DatasetDefinition] = {
    name: _parse((_PACKAGED / f'{name}.toml').read_text(encoding='utf-8'), f'{name}.toml') for name in NAMES
}
