"""Starts a command: parses its flags, silences TensorFlow, and prints a user's mistake in one line."""

import contextlib
import importlib
import io
import logging as standard_logging
import math
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from tfp_bruno.data.plain_text import printable
from tfp_bruno.errors import UserError

_HELP = {'-h', '-help', '--help', '--helpshort'}
_OWN = str(pathlib.Path(__file__).resolve().parent.parent)


def run_main(
    main: Callable[[], None],
    more_help: Callable[[], str] | None = None,
    find_setting: Callable[[str], str | None] | None = None,
) -> None:
    """Runs a command and ends the process.

    A `UserError`, a wrong flag, or an argument that is not a flag becomes one line on stderr and exit status 1. If the
    user interrupts the command, the status is 130.

    Args:
        main: The command, called when its flags are parsed.
        more_help: Returns a text that `--help` prints below the flags.
        find_setting: Returns the assignment that replaces an unknown flag; None if there is none.
    """
    program = pathlib.Path(sys.argv[0])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The path of a result is printed as the bytes that it consists of.
        sys.stdout.reconfigure(errors='surrogateescape')
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    # TensorFlow logs through the same handler; only its errors are for the user. A filter of the outer handler would
    # not be applied.
    logging.get_absl_handler().python_handler.addFilter(_is_for_user)

    def parse(argv: list[str]) -> list[str]:
        return _parse(main, argv, program, more_help, find_setting)

    app.run(lambda _: _run(main, program), flags_parser=parse)


def _is_for_user(record: standard_logging.LogRecord) -> bool:
    if _OWN in record.pathname:
        # Names in the message may hold terminal escapes.
        record.msg, record.args = printable(with_flags(record.getMessage())), ()
        return True
    return record.levelno >= standard_logging.ERROR


def with_flags(message: str) -> str:
    """Returns a message of the library in which arguments are written as flags of the running command.

    The library names an argument as `` `spacing` `` or `` `spacing=2` ``, the command as `--spacing`.

    Args:
        message: The text of a `UserError` or a warning.
    """
    return re.sub(r'`(\w+)(=[^`]*)?`', _flag_of_argument, message)


def _flag_of_argument(match: re.Match[str]) -> str:
    name, value = match[1], match[2] or ''
    return f'--{name}{value}' if name in flags.FLAGS else match[0]


def print_path(path: str | os.PathLike) -> None:
    """Prints the path of a result: the bytes of its name, but to a terminal without escapes that it would obey."""
    print(printable(str(path)) if sys.stdout.isatty() else path)


def import_tensorflow() -> None:
    """Imports TensorFlow without its start-up messages, which come from C++ and are of no use to a user.

    Disables TensorFloat-32, so that GPUs keep all bits of float32.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    # TFP works with tf_keras; without this, TensorFlow would import Keras 3 beside it, which takes seconds.
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
    sys.stderr.flush()
    with pathlib.Path(os.devnull).open('w') as nowhere:
        shown = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            tensorflow = importlib.import_module('tensorflow')
            importlib.import_module('tensorflow_probability')
        finally:
            os.dup2(shown, 2)
            os.close(shown)
    standard_logging.getLogger('tensorflow').setLevel('ERROR')
    # Recent GPUs multiply float32 with ten bits of mantissa: densities and inverses would no longer be exact.
    # The setting `network_dtype` reduces the precision of the networks alone.
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    if not tensorflow.config.list_physical_devices('GPU'):
        # Graph rewriting takes seconds before the first step, and does not make graphs faster on CPUs.
        tensorflow.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})


def _parse(
    main: Callable[[], None],
    argv: list[str],
    program: pathlib.Path,
    more_help: Callable[[], str] | None,
    find_setting: Callable[[str], str | None] | None,
) -> list[str]:
    """Parses the flags, prints help or ends the process with an error; returns the name of the command."""
    if not _HELP.isdisjoint(argv[1:]):
        # absl would list the flags of the script in bin/, which defines none.
        module = sys.modules[main.__module__]
        print(f'{module.__doc__}{flags.FLAGS.module_help(module)}')
        if more_help is not None:
            _parse_known([argument for argument in argv if argument not in _HELP])
            _run(lambda: print(f'\n{more_help()}'), program)
        sys.exit(0)
    try:
        left = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        _parse_known(argv)
        setting = None if find_setting is None else find_setting(error.flagname)
        instead = 'see --help' if setting is None else f'it is a setting, write {setting}'
        _fail(program, f'{error}; {instead}'.replace('\n', ' '))
    except flags.Error as error:
        _fail(program, f'{error}; see --help'.replace('\n', ' '))
    for name, value in flags.FLAGS.flag_values_dict().items():
        # The bounds of a flag admit nan, and without an upper bound inf.
        if isinstance(value, float) and not math.isfinite(value):
            _fail(program, f'flag --{name}={value}: give a finite number; see --help')
    if len(left) > 1:
        _fail(program, f'{left[1]}: is not a flag; see --help')
    return left


def _parse_known(argv: list[str]) -> None:
    """Parses the flags that are known; those that are wrong or missing keep their defaults."""
    with contextlib.suppress(flags.Error):
        flags.FLAGS(argv, known_only=True)
    flags.FLAGS.mark_as_parsed()


def _run(main: Callable[[], None], program: pathlib.Path) -> None:
    try:
        main()
    except UserError as error:
        _fail(program, with_flags(str(error)))
    except KeyboardInterrupt:
        print(f'{_name(program)}: interrupted', file=sys.stderr)
        sys.exit(130)


def _fail(program: pathlib.Path, message: str) -> NoReturn:
    print(f'{_name(program)}: error: {printable(message)}', file=sys.stderr)
    sys.exit(1)


def _name(program: pathlib.Path) -> str:
    return (
        f'bin/{program.name}' if program.parent.name == 'bin' and not program.name.startswith('bruno') else program.name
    )
