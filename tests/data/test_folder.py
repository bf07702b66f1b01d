"""Several unusable files are one error."""

import logging
import pathlib

from tfp_bruno.data.folder import combine_errors
from tfp_bruno.errors import UserError

FOLDER = pathlib.Path('data')


def errors(count):
    return [UserError(f'data/{number}.nii: is empty; remove it.') for number in range(count)]


def test_combine_errors_returns_a_single_error_unchanged():
    (error,) = errors(1)
    assert combine_errors([error], FOLDER, 9) is error


def test_combine_errors_names_a_few_with_reasons():
    expected = 'data: 2 of 9 files cannot be used: (1) 0.nii: is empty; remove it. (2) 1.nii: is empty; remove it.'
    assert str(combine_errors(errors(2), FOLDER, 9)) == expected


def test_combine_errors_logs_many(caplog):
    with caplog.at_level(logging.WARNING, logger='absl'):
        message = str(combine_errors(errors(7), FOLDER, 9))
    assert message.startswith('data: 7 of 9 files cannot be used: (1) 0.nii')
    assert '(5) 4.nii' in message
    assert '(6)' not in message
    assert message.endswith('The other 2 are listed above.')
    assert '\n' not in message
    assert [record.getMessage().split(':')[0] for record in caplog.records] == [f'data/{n}.nii' for n in range(7)]
