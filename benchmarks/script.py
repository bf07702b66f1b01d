"""A script of this folder that measures in a process of its own, and then waits for its turns."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tfp_bruno.errors import UserError

__all__ = ['Script', 'running']

_FOLDER = pathlib.Path(__file__).resolve().parent


@contextlib.contextmanager
def running(python, name, *arguments, **environment):
    """Runs one of the scripts beside this file until it has printed its figures, and keeps it for its turns.

    Args:
        python: The interpreter.
        name: The file's, without its ending.
        *arguments: The script's own.
        **environment: Variables beside those of this process.

    Yields:
        A `Script`.

    Raises:
        UserError: if the script fails.
    """
    command = [python, str(_FOLDER / f'{name}.py'), '--in_turn', *arguments]
    with tempfile.TemporaryFile('w+') as errors:
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': errors, 'text': True}
        # Leaving closes its input, which ends it.
        with subprocess.Popen(command, **pipes, env={**os.environ, **environment}) as process:
            yield Script(f'benchmarks/{name}.py {" ".join(arguments)}', process, errors)


class Script:
    """A script that has printed its figures and waits for its turns.

    Attributes:
        figures: What it measured of itself, a `dict`.
    """

    def __init__(self, call, process, errors):
        """Waits for the figures.

        Args:
            call: What the script is called in messages.
            process: Its `subprocess.Popen`.
            errors: File of what it says beside its results.

        Raises:
            UserError: if it ends without figures.
        """
        self._call, self._process, self._errors = call, process, errors
        self.figures = json.loads(self._answer())
        print(call, json.dumps(self.figures), file=sys.stderr)

    def seconds(self, steps):
        """Returns the time that some training steps take now."""
        # One that has ended says why when it is asked for the answer.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), f'{steps}\n'.encode())
        return float(self._answer())

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise UserError(f'{self._call}: {said[-1] if said else "ended without a word"}')
        return line
