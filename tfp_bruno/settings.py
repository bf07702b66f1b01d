"""Reads, checks, changes and documents settings; every class of settings is a frozen dataclass."""

import dataclasses
import inspect
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import pydantic
from annotated_types import Ge, Gt, Le, Lt

from tfp_bruno.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Gt(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
WholeNumber = Annotated[int, Ge(0)]

_T = TypeVar('_T')


# Classes of settings are `@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)`: unknown names, values of
# another type and infinite numbers raise a `ValueError`. `dataclasses.asdict` is the inverse of `structure`.
STRICT = pydantic.ConfigDict(extra='forbid', strict=True, allow_inf_nan=False)
# The setting that selects one of several classes for a table of settings.
TAG = 'architecture'


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting, for documentation.

    Attributes:
        name: Dotted name, such as `objective.prior_decay`.
        value: Its value.
        text: Its entry in the docstring of its class.
    """

    name: str
    value: Any
    text: str

    def __str__(self) -> str:
        value = 'none' if self.value is None else self.value if isinstance(self.value, str) else json.dumps(self.value)
        return f'{self.name}={value}'


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a TOML file.

    Args:
        path: The file.

    Returns:
        Its tables as nested dicts.

    Raises:
        UserError: If the file cannot be read, or is not TOML.
    """
    path = pathlib.Path(path)
    try:
        return tomllib.loads(path.read_bytes().decode('utf-8'))
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path.') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: is not UTF-8 text; give a TOML file.') from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f'{path}: is not TOML ({error}); write lines such as num_slices = 80.') from error


def structure(settings_class: type[_T], values: Any, place: str, name: str = '', complete: bool = False) -> _T:
    """Returns settings from values that JSON or TOML can hold.

    Args:
        settings_class: The class of the settings, see `STRICT`.
        values: Values by name; nested settings are nested dicts.
        place: File or argument that the values come from, for errors.
        name: Name of the settings in that file, for errors; empty for none.
        complete: Whether settings that have a default are required, too.

    Raises:
        UserError: If a setting is missing, unknown, of another type or out of range.
    """
    try:
        # Through JSON, whose arrays are tuples in strict mode, too.
        settings: Any = pydantic.TypeAdapter(settings_class).validate_json(json.dumps(values))
    except pydantic.ValidationError as error:
        raise UserError(f'{place}: {first_error(error, values, name)}') from error
    missing = _first_missing(json.loads(json.dumps(dataclasses.asdict(settings))), values) if complete else None
    if missing is not None:
        raise UserError(f'{place}: {name}{"." if name else ""}{missing} is missing.')
    return settings


def change(values: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Returns nested values with some of them changed.

    Args:
        values: Values by name, nested.
        assignments: Texts such as `objective.prior_decay=3.5`. A value is written as in TOML; text needs no quotes,
            and `none` is None. A new value of `TAG` selects another class, with that class's defaults.

    Raises:
        UserError: If a text is not of that form, or a name leads through a value that has no parts.
    """
    changed = json.loads(json.dumps(values))
    for assignment in assignments:
        name, equals, text = assignment.partition('=')
        *parents, last = name.split('.')
        if not equals or not all([*parents, last]):
            raise UserError(f'`set={assignment}`: is not of the form NAME=VALUE; write objective.prior_decay=3.5.')
        table = changed
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise UserError(f'`set={assignment}`: {parent} has no parts; see the settings in --help.')
        value = _parse(text)
        if last == TAG and table.get(TAG) != value:
            table.clear()
        table[last] = value
    return changed


def list_settings(settings: Any, prefix: str = '') -> Iterator[Setting]:
    """Lists the settings of an instance, depth first, with their values and documentation.

    Args:
        settings: The instance of a class of settings.
        prefix: Prefix of all names, such as `model.`.
    """
    texts = _documentation(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from list_settings(value, f'{prefix}{field.name}.')
        else:
            yield Setting(prefix + field.name, value, texts.get(field.name, ''))


def _parse(text: str) -> Any:
    """Returns the value of a TOML expression, of a bare word or of `none`."""
    if text.lower() == 'none':
        return None
    try:
        return tomllib.loads(f'value = {text}')['value']
    except tomllib.TOMLDecodeError:
        pass
    try:
        # TOML does not have the forms .5 and 5.
        return float(text)
    except ValueError:
        return text


def _documentation(settings_class: type) -> dict[str, str]:
    """Returns the texts of the sections `Attributes` of a class and its bases, by attribute."""
    texts: dict[str, str] = {}
    for base in reversed(settings_class.__mro__):
        section = inspect.cleandoc(base.__doc__ or '').partition('\nAttributes:\n')[2]
        for name, text in re.findall(r'^    (\w+): (.*(?:\n {8}.*)*)', section, re.MULTILINE):
            texts[name] = ' '.join(text.split())
    return texts


def first_error(found: ValueError, values: Any, name: str = '') -> str:
    """Returns one clause about the first error that the check of settings found.

    Args:
        found: The error that the class of the settings raised.
        values: The values that it was given.
        name: Name of the settings, see `structure`.
    """
    if not isinstance(found, pydantic.ValidationError):
        return str(found)
    error = found.errors()[0]
    path = [name] if name else []
    value: Any = values
    for part in error['loc']:
        # The location also holds the tag of a class among several, which the values do not.
        if (isinstance(value, list) and isinstance(part, int)) or (isinstance(value, dict) and part in value):
            path.append(str(part))
            value = value[part]  # type: ignore[index]  # The line above checks it; a checker does not see that.
        elif part is error['loc'][-1]:
            path.append(str(part))
    name = '.'.join(path)
    if error['type'] == 'missing':
        return f'{name} is missing.'
    if error['type'] == 'unexpected_keyword_argument':
        return f'{name} is not a setting; check its name.'
    reason = str(error['msg']).removeprefix('Value error, ').removeprefix('Input ').rstrip('.')
    return f'{name} = {_short(value)}: {reason}.' if name else f'{reason}.'


def _first_missing(wanted: Mapping[str, Any], values: Mapping[str, Any]) -> str | None:
    """Returns the dotted name of the first setting that nested values lack; None if they are complete."""
    for name, value in wanted.items():
        if name not in values:
            return name
        if isinstance(value, Mapping) and isinstance(values[name], Mapping):
            inner = _first_missing(value, values[name])
            if inner is not None:
                return f'{name}.{inner}'
    return None


def _short(value: Any) -> str:
    """Returns a value as JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
