"""Measures what the RealNVP flow's convolutions alone reach of the machine's ceiling, and prints a markdown table.

    python benchmarks/convolutions.py [--output=FILE]

What a training step takes beyond them is the rest of the flow; what they fall short of the ceiling no other code around
them gives back. Nonlinearity and sums over pixels are measured alone, too. Everything takes turns with the product of
two large float32 matrices that is the ceiling, bfloat16's share, too.
"""

import pathlib
import statistics
import sys
import time

from absl import flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import peer
from tfp_bruno.cli import app

TURNS = flags.DEFINE_integer('turns', 12, 'How often all take turns.', lower_bound=1)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- convolutions --> is replaced by the table.')

_BATCH_SIZE, _FILTERS = 64, 64
# By side of the images, the couplings of three scales at 32 x 32; each has six blocks of two convolutions.
_COUPLINGS = {32: 3, 16: 6, 8: 7}
_LAYERS = 12
# Operations in a call, so that starting it does not count.
_REPEATS = {32: 2, 16: 8, 8: 32}
_OPERATIONS = ('convolution', 'gradient by inputs', 'gradient by kernels', 'ELU', 'its gradient', 'sum over pixels')


def main():
    """Measures, prints, and writes the table where --output says.

    Raises:
        UserError: if the file of --output cannot be used.
    """
    app.import_tensorflow()
    import tensorflow as tf

    from benchmarks import measure

    dtypes = (tf.float32, tf.bfloat16) if peer.has_bfloat16() else (tf.float32,)
    parts = {dtype: _parts(tf, dtype) for dtype in dtypes}
    timed = [seconds for own in parts.values() for seconds in own.values()]
    *taken, ceilings = peer.in_turn([*timed, lambda: measure.matmul_flops(repeats=3)], TURNS.value)
    taken = iter(taken)
    lines = [f'| side; dtype | {" | ".join(_OPERATIONS)} |', '|---' * (1 + len(_OPERATIONS)) + '|']
    totals = []
    for dtype, own in parts.items():
        seconds = {key: next(taken) for key in own}
        for side in _COUPLINGS:
            cells = [_cell(side, name, seconds[side, name], ceilings) for name in _OPERATIONS]
            lines.append(f'| {side}; {dtype.name} | {" | ".join(cells)} |')
        totals.extend(_totals(dtype, seconds, ceilings))
    ceiling = f'{min(ceilings) / 1e9:.0f} to {max(ceilings) / 1e9:.0f} GFLOP/s'
    text = '\n'.join([f'{measure.describe_machine()}. Ceiling: {ceiling}.', '', *lines, '', *totals])
    print(text)
    if OUTPUT.value:
        measure.replace_section(OUTPUT.value, 'convolutions', text)


def _parts(tf, dtype):
    """Returns, by side and operation, a function that returns the seconds of one such operation."""
    parts = {}
    for side in _COUPLINGS:
        shape = [_BATCH_SIZE, side, side, _FILTERS]
        value, upstream = (tf.cast(tf.random.stateless_normal(shape, seed=(side, i)), dtype) for i in range(2))
        kernel = tf.cast(tf.random.stateless_normal([3, 3, _FILTERS, _FILTERS], seed=(side, 2)), dtype)
        for name, operation in zip(_OPERATIONS, _operations(tf), strict=True):
            parts[side, name] = _timed(tf, operation, (value, kernel, upstream), _REPEATS[side])
    return parts


def _operations(tf):
    """Returns functions of value, kernel and upstream gradient, in the order of `_OPERATIONS`."""

    def by_kernels(value, kernel, upstream):
        return tf.raw_ops.Conv2DBackpropFilter(
            input=value, filter_sizes=kernel.shape, out_backprop=upstream, strides=[1, 1, 1, 1], padding='SAME'
        )

    return (
        lambda value, kernel, upstream: tf.nn.conv2d(value, kernel, 1, 'SAME'),
        # A convolution, too, with the mirrored kernel; see tfp_bruno/networks/layers.py.
        lambda value, kernel, upstream: tf.nn.conv2d(upstream, kernel, 1, 'SAME'),
        by_kernels,
        lambda value, kernel, upstream: tf.nn.elu(value),
        lambda value, kernel, upstream: tf.raw_ops.EluGrad(gradients=upstream, outputs=value),
        lambda value, kernel, upstream: tf.reduce_sum(upstream, [1, 2]),
    )


def _timed(tf, operation, arguments, repeats):
    """Returns a function that returns the seconds of an operation, one after the other in one graph."""

    @tf.function(autograph=False)
    def run(*arguments):
        outs = []
        for _ in range(repeats):
            with tf.control_dependencies(outs[-1:]):
                outs.append(operation(*arguments))
        return outs

    def seconds():
        start = time.perf_counter()
        run(*arguments)[-1].numpy()
        return (time.perf_counter() - start) / repeats

    return seconds


def _cell(side, name, seconds, ceilings):
    """Returns the median time, and of a convolution its share of the ceiling."""
    text = f'{1e3 * statistics.median(seconds):.2f} ms'
    if name not in _OPERATIONS[:3]:
        return text
    return f'{text}, {statistics.median(_flops(side) / s / c for s, c in zip(seconds, ceilings, strict=True)):.2f}'


def _flops(side):
    return 2.0 * 9.0 * _BATCH_SIZE * side**2 * _FILTERS**2


def _totals(dtype, seconds, ceilings):
    """Yields the shares of the ceiling of all convolutions of a training step, alone and with the other operations."""
    layers = {side: _LAYERS * count for side, count in _COUPLINGS.items()}
    flops = 3.0 * sum(count * _flops(side) for side, count in layers.items())
    for names, what in ((_OPERATIONS[:3], 'alone'), (_OPERATIONS, 'with ELU, its gradient and the sums')):
        turns = range(len(ceilings))
        total = [sum(layers[side] * seconds[side, name][turn] for side in layers for name in names) for turn in turns]
        share = statistics.median(flops / each / ceiling for each, ceiling in zip(total, ceilings, strict=True))
        yield f'- All convolutions of a training step in {dtype.name}, {what}: {share:.2f} of the ceiling.'


if __name__ == '__main__':
    app.run_main(main)
