"""Times, memory and tables of the benchmarks."""

import ctypes
import gc
import os
import pathlib
import platform
import re
import statistics
import time
import typing

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError

__all__ = [
    'Row',
    'can_run',
    'describe_machine',
    'matmul_flops',
    'median_seconds',
    'milliseconds',
    'multiply_adds',
    'peak_bytes',
    'replace_section',
    'to_markdown',
    'verdict',
]

_STATUS = pathlib.Path('/proc/self/status')
_CLEAR_REFS = pathlib.Path('/proc/self/clear_refs')


class Row(typing.NamedTuple):
    """A line of the table; `compiled` is the same figure with jit_compile=True."""

    what: str
    figure: str
    compiled: str = ''
    target: str = ''

    @classmethod
    def of(cls, what, figures, target=''):
        """Returns the row of one figure, or of two: as a plain tf.function, and with jit_compile=True."""
        return cls(what, *figures, *[''] * (2 - len(figures)), target)


def median_seconds(function, *arguments, repeats=10):
    """Returns the median time of a call, after two that are not counted.

    Args:
        function: Callable of `arguments`.
        *arguments: Tensors.
        repeats: At least so many calls are timed, and for at least a tenth of a second each on average.
    """
    for _ in range(2):
        _call(function, arguments)
    times = []
    while len(times) < repeats or sum(times) < 0.1 * repeats:
        start = time.perf_counter()
        _call(function, arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _call(function, arguments):
    result = function(*arguments)
    tf.test.experimental.sync_devices()
    return result


def can_run(function, *arguments):
    """Returns whether a function can be compiled and run."""
    try:
        _call(function, arguments)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return False
    return True


def peak_bytes(function, *arguments):
    """Returns by how much a call raises the resident memory of this process at its peak, result included.

    The largest of three, after a call that is not counted. Linux only; elsewhere NaN. Memory that the allocator
    keeps for reuse is handed back to the system first, since its use would not show.
    """
    if not _CLEAR_REFS.exists():
        return float('nan')
    _call(function, arguments)
    growth = []
    for _ in range(3):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        # Sets the peak to the present size.
        _CLEAR_REFS.write_text('5')
        before = _resident_bytes('VmRSS')
        _call(function, arguments)
        growth.append(_resident_bytes('VmHWM') - before)
    return max(growth)


def _resident_bytes(name):
    return 1024 * int(re.search(rf'{name}:\s*(\d+) kB', _STATUS.read_text()).group(1))


def matmul_flops(size=2048, repeats=10):
    """Returns the floating-point operations per second of a product of two large float32 matrices."""
    matrix = tf.random.stateless_normal([size, size], seed=(1, 2))
    return 2.0 * size**3 / median_seconds(tf.function(tf.matmul), matrix, matrix, repeats=repeats)


def multiply_adds(graph):
    """Returns the multiply-adds of all convolutions and matrix products of a graph and the functions that it calls."""
    total = 0
    for operation in graph.get_operations():
        if operation.type == 'Conv2D':
            total += operation.outputs[0].shape.num_elements() * operation.inputs[1].shape[:3].num_elements()
        elif operation.type in ('MatMul', 'BatchMatMulV2'):
            transposed = operation.type == 'MatMul' and operation.get_attr('transpose_a')
            inner = operation.inputs[0].shape[-2 if transposed else -1]
            total += operation.outputs[0].shape.num_elements() * inner
        elif operation.type in ('PartitionedCall', 'StatefulPartitionedCall'):
            total += multiply_adds(graph._get_function(operation.get_attr('f').name).graph)
    return total


def describe_machine():
    """Returns one line on the processor and the versions."""
    info = pathlib.Path('/proc/cpuinfo')
    found = re.search(r'model name\s*:\s*(.+)', info.read_text()) if info.exists() else None
    processor = found.group(1) if found else platform.processor() or platform.machine()
    return (
        f'{processor}, {os.cpu_count()} cores; Python {platform.python_version()}, NumPy {np.__version__}, '
        f'TensorFlow {tf.__version__}, TFP {tfp.__version__}'
    )


def milliseconds(seconds):
    """Returns a time as text with three digits."""
    return f'{1e3 * seconds:.3g} ms' if seconds < 1.0 else f'{1e3 * seconds:.0f} ms'


def verdict(figure, bound, unit='', at_least=False):
    """Returns a target as text, and whether it is reached."""
    reached = figure >= bound if at_least else figure <= bound
    return f'{"≥" if at_least else "≤"} {bound:g}{unit}: {"reached" if reached else "missed"}'


def to_markdown(rows):
    """Returns `Row`s as a markdown table."""
    head = ('Measurement', 'tf.function', 'jit_compile=True', 'Target')
    lines = [head, tuple('---' for _ in head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def replace_section(path, name, text):
    """Writes text between the lines `<!-- name -->` and `<!-- /name -->` of a file.

    Args:
        path: The file, which has both lines.
        name: Name of the section.
        text: Its new content.

    Raises:
        UserError: if the file cannot be read or written, or lacks the lines.
    """
    first, last = f'<!-- {name} -->', f'<!-- /{name} -->'
    try:
        old = pathlib.Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror or error}); give an existing file.') from error
    before, found, rest = old.partition(first)
    _, closed, after = rest.partition(last)
    if not (found and closed):
        raise UserError(f'{path}: has no section {first} ... {last}; add the two lines where the table belongs.')
    atomic.write_text(path, f'{before}{first}\n{text}\n{last}{after}')
