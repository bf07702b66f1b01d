"""Starts a command: quiet TensorFlow, one line for a user's mistake."""

import contextlib
import importlib
import logging as standard_logging
import math
import os
import pathlib
import re
import sys
from collections.abc import Callable

from absl import app, flags, logging

from tfp_bruno.errors import UserError

__all__ = ['import_tensorflow', 'run_main']

_HELP = {'-h', '-help', '--help', '--helpshort'}
_OWN = str(pathlib.Path(__file__).resolve().parent.parent)


def run_main(
    main: Callable[[list[str]], None],
    more_help: Callable[[], str] | None = None,
    find_setting: Callable[[str], str | None] | None = None,
) -> None:
    """Runs a command and ends the process.

    Args:
        main: The command; its argument is what is left of the arguments after the flags.
        more_help: Returns what `--help` prints below the flags.
        find_setting: Returns what to write instead of an unknown flag, if anything.

    A `UserError` becomes one line on stderr and exit status 1; so does a wrong flag. Interrupted by the user, the
    status is 130.
    """
    program = pathlib.Path(sys.argv[0])
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    # TensorFlow logs through the same handler; of its records only errors are for the user. A filter of the outer
    # handler would not be asked.
    logging.get_absl_handler().python_handler.addFilter(_is_for_user)

    def parse(argv):
        return _parse(main, argv, program, more_help, find_setting)

    app.run(lambda argv: _run(main, argv, program), flags_parser=parse)


def _is_for_user(record):
    if _OWN in record.pathname:
        record.msg, record.args = with_flags(record.getMessage()), ()
        return True
    return record.levelno >= standard_logging.ERROR


def with_flags(message: str) -> str:
    """Returns a message of the library with the flags of the running command in place of arguments.

    The library names an argument as `` `spacing` `` or `` `spacing=2` ``; a user of the command knows `--spacing`.

    Args:
        message: The text of a `UserError` or a warning.
    """
    return re.sub(r'`(\w+)(=[^`]*)?`', _flag_of_argument, message)


def _flag_of_argument(match):
    name, value = match[1], match[2] or ''
    return f'--{name}{value}' if name in flags.FLAGS else match[0]


def import_tensorflow():
    """Imports TensorFlow without its start-up notes, which come from C++ and say nothing that a user could act on.

    TensorFlow then keeps all of float32 on GPUs, too.
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
    # `network_dtype` has the fast way, for the networks alone.
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    if not tensorflow.config.list_physical_devices('GPU'):
        # On CPUs a graph runs as fast without being rewritten first, which takes seconds before the first step.
        tensorflow.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})


def _parse(main, argv, program, more_help, find_setting):
    if not _HELP.isdisjoint(argv[1:]):
        # absl would list the flags of the script in bin/, which has none of its own.
        module = sys.modules[main.__module__]
        print(f'{module.__doc__}{flags.FLAGS.module_help(module)}')
        if more_help is not None:
            _parse_known([argument for argument in argv if argument not in _HELP])
            _run(lambda _: print(f'\n{more_help()}'), argv, program)
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
        # A flag's bounds let nan pass, and without an upper bound inf.
        if isinstance(value, float) and not math.isfinite(value):
            _fail(program, f'flag --{name}={value}: give a finite number; see --help')
    return left


def _parse_known(argv):
    """Parses the flags that are known; whatever is wrong with them, or missing, keeps its default."""
    with contextlib.suppress(flags.Error):
        flags.FLAGS(argv, known_only=True)
    flags.FLAGS.mark_as_parsed()


def _run(main, argv, program):
    try:
        main(argv)
    except UserError as error:
        _fail(program, with_flags(str(error)))
    except KeyboardInterrupt:
        print(f'{_name(program)}: interrupted', file=sys.stderr)
        sys.exit(130)


def _fail(program, message):
    print(f'{_name(program)}: error: {message}', file=sys.stderr)
    sys.exit(1)


def _name(program):
    return (
        f'bin/{program.name}' if program.parent.name == 'bin' and not program.name.startswith('bruno') else program.name
    )
