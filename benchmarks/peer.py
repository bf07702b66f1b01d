"""What the peers' scripts share: time and memory of their process, and its processor, without importing a framework."""

import functools
import json
import os
import pathlib
import re
import statistics
import sys
import time

from absl import flags

__all__ = [
    'add_in_turn_flag',
    'add_repeats_flag',
    'has_bfloat16',
    'in_turn',
    'median_seconds',
    'medians_in_turn',
    'peak_gigabytes',
    'report',
    'stdout_for_result',
]

_PROCESSOR = pathlib.Path('/proc/cpuinfo')
_STATUS = pathlib.Path('/proc/self/status')


def add_repeats_flag():
    """Defines --repeats and returns its holder."""
    return flags.DEFINE_integer('repeats', 10, 'How many calls are timed.', lower_bound=1)


def add_in_turn_flag():
    """Defines --in_turn and returns its holder."""
    return flags.DEFINE_bool(
        'in_turn', False, 'After the figures, times so many training steps as each line of the standard input says.'
    )


def stdout_for_result():
    """Returns the stdout there is now, and sends everything else that is printed to stderr.

    What a peer prints on its own, from C++ too, would get between the lines of the result.
    """
    sys.stdout.flush()
    result = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    return result


def median_seconds(function, repeats):
    """Returns the median time of `repeats` calls, after two that are not counted.

    `measure.median_seconds` is its like for TensorFlow; that module would bring TensorFlow into every peer.
    """
    return medians_in_turn([function], repeats)[0]


def medians_in_turn(functions, repeats):
    """Returns the same of several functions that are called in turn: how fast the machine is changes for all alike."""
    times = in_turn([functools.partial(_seconds, function) for function in functions], repeats)
    return [statistics.median(own) for own in times]


def in_turn(functions, turns):
    """Returns what each of several functions returned in its turns, after two that are not counted."""
    rounds = [[function() for function in functions] for _ in range(2 + turns)]
    return [list(own) for own in zip(*rounds[2:], strict=True)]


def _seconds(function, calls=1):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start


def peak_gigabytes():
    """Returns the peak resident memory of this process in units of 10^9 bytes; Linux only, elsewhere NaN.

    `ru_maxrss` would not do: a process starts with that of the process that starts it.
    """
    if not _STATUS.exists():
        return float('nan')
    return 1024e-9 * int(re.search(r'VmHWM:\s*(\d+) kB', _STATUS.read_text()).group(1))


def has_bfloat16():
    """Returns whether the processor multiplies bfloat16; in software it takes many times as long as float32."""
    return _PROCESSOR.exists() and any(name in _PROCESSOR.read_text() for name in ('avx512_bf16', 'amx_bf16'))


def report(output, figures, step, in_turn):
    """Prints figures as a line of JSON, and if in turn, the seconds of as many steps as each line that comes in says.

    How fast a machine is changes within minutes; processes that take turns see the same of it.
    """
    print(json.dumps(figures), file=output, flush=True)
    for line in sys.stdin if in_turn else ():
        print(_seconds(step, int(line)), file=output, flush=True)
    output.close()
