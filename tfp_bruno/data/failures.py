"""Several files that are wrong, told in one line."""

import os
import pathlib
from collections.abc import Sequence

from absl import logging

from tfp_bruno.errors import UserError

MOST_NAMED = 5


def one_error(errors: Sequence[UserError], folder: pathlib.Path, total: int) -> UserError:
    """Returns one error for all that is wrong with the files of a folder.

    Args:
        errors: one for each file that cannot be used.
        folder: where the files are.
        total: how many there are.

    Returns:
        The error itself if it is the only one. Otherwise it counts them and names up to five with their reasons; if
        there are more, each is logged as a warning.
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
