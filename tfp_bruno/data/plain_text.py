"""Names of files and subjects as text that terminals, tables and figures show, and never obey."""

import os
import re

from tfp_bruno.errors import UserError

# Control characters, among them terminal escapes, line separators, changes of direction, and bytes that are no UTF-8,
# which Python holds as single surrogates.
_UNPRINTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]')


def printable(text: str) -> str:
    r"""Returns text in one line in which characters that cannot be printed are escapes such as `\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode('unicode_escape').decode('ascii'), text)


def figure_text(text: str) -> str:
    """Returns lines of text that Matplotlib shows as they are: it reads what is between two `$` as a formula."""
    return '\n'.join(map(printable, text.split('\n'))).replace('$', r'\$')


def check_utf8(path: str | os.PathLike) -> None:
    """Raises a UserError if the name of a folder is no UTF-8: settings of a run cannot record it."""
    try:
        str(path).encode('utf-8')
    except UnicodeEncodeError as error:
        raise UserError(f'{path}: its name is not UTF-8; rename the folder.') from error


def check_run_name(path: str | os.PathLike) -> None:
    """Raises a UserError if a run cannot be kept in a folder: its name is no UTF-8, or a pattern to TensorFlow."""
    check_utf8(path)
    found = sorted(set(str(path)) & set('*?[\\'))
    if found:
        raise UserError(f'{path}: TensorFlow cannot read from a folder with {found[0]} in its name; rename the folder.')


def to_utf8(text: str) -> bytes:
    """Returns the UTF-8 bytes of text in which bytes of names that are no UTF-8 are escapes."""
    return text.encode('utf-8', 'backslashreplace')
