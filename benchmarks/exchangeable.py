"""The exchangeable Student-t process: against the recurrence and TFP, linearity, accuracy in float32."""

import itertools

import numpy as np
import tensorflow as tf

from benchmarks import measure, references
from benchmarks.measure import Row
from tfp_bruno.distributions import ExchangeableStudentTProcess

__all__ = ['rows']

_CORRELATIONS = (0.0, 0.5, 0.9, 0.99, 0.999)
_DEGREES_OF_FREEDOM = (2.01, 2.5, 5.0, 50.0, 1e3, 1e5, 1e8)
_LENGTHS = (1, 8, 64, 512, 4096)


def rows(repeats):
    """Yields the `Row`s of the table; every time is the median of at least `repeats` calls."""
    return itertools.chain(_against(repeats), _linearity(repeats), _accuracy(), _stream())


def log_prob(observations, df, loc, variance, correlation):
    """Returns the density `[]` of one sequence `[n, D]` in closed form."""
    process = ExchangeableStudentTProcess(df, loc, variance, correlation, num_steps=observations.shape[0])
    return process.log_prob(observations)


def _arguments(num_steps, dimension, df=None, correlation=None):
    """Returns observations that the process drew and its parameters, float32 arrays.

    `df` and `correlation` are scalars, or `None` for others in every dimension.
    """
    generator = np.random.default_rng(0)
    df = generator.uniform(3.0, 30.0, dimension) if df is None else np.full(dimension, df)
    correlation = generator.uniform(0.1, 0.9, dimension) if correlation is None else np.full(dimension, correlation)
    loc, variance = generator.normal(size=dimension), generator.uniform(0.5, 2.0, dimension)
    own, shared = generator.normal(size=[num_steps, dimension]), generator.normal(size=dimension)
    radius = np.sqrt(0.5 * (df - 2.0) / generator.gamma(0.5 * df))
    deviations = np.sqrt(variance * correlation) * shared + np.sqrt(variance * (1.0 - correlation)) * own
    return [part.astype(np.float32) for part in (loc + radius * deviations, df, loc, variance, correlation)]


def _against(repeats):
    # XLA takes half a minute for one call of TFP's process.
    cases = (
        ('recurrence of BRUNO, one observation at a time', references.recurrent_log_prob, 512, 20.0, (False, True)),
        ('`tfd.StudentTProcess`, constant kernel', references.tfp_log_prob, 256, 150.0, (False,)),
    )
    for name, reference, num_steps, bound, ways in cases:
        arguments = _arguments(num_steps, 1024)
        tensors = [tf.constant(part) for part in arguments]
        exact = references.exact_log_prob(*arguments)
        seconds, errors = {}, {}
        for function in (log_prob, reference):
            for jit in ways:
                run = tf.function(function, jit_compile=jit)
                errors[function, jit] = abs(float(run(*tensors)) - exact) / abs(exact)
                seconds[function, jit] = measure.median_seconds(run, *tensors, repeats=repeats)
        for what, function in (('closed form', log_prob), (name, reference)):
            yield Row.of(
                f'log_prob of a sequence, n = {num_steps}, D = 1024: {what}',
                [measure.milliseconds(seconds[function, jit]) for jit in ways],
            )
        ratios = [seconds[reference, jit] / seconds[log_prob, jit] for jit in ways]
        target = measure.verdict(ratios[0], bound, ' x', at_least=True)
        yield Row.of('- times faster', [f'{ratio:.0f} x' for ratio in ratios], target)
        apart = [errors[reference, jit] + errors[log_prob, jit] for jit in ways]
        yield Row.of('- relative disagreement, at most', [f'{error:.1e}' for error in apart])


def _linearity(repeats):
    lengths = (512, 1024, 2048, 4096)
    figures = {}
    for num_steps in lengths:
        tensors = [tf.constant(part) for part in _arguments(num_steps, 4096)]
        for jit in (False, True):
            run = tf.function(log_prob, jit_compile=jit)
            figures[num_steps, jit] = (
                measure.median_seconds(run, *tensors, repeats=repeats),
                measure.peak_bytes(run, *tensors),
            )
        yield Row.of(
            f'log_prob, n = {num_steps}, D = 4096: time; peak memory beside the observations',
            [
                f'{measure.milliseconds(seconds)}; {size / 2**20:.0f} MiB'
                for seconds, size in (figures[num_steps, jit] for jit in (False, True))
            ],
        )
    exponents = [
        [_exponent(lengths, [figures[num_steps, jit][part] for num_steps in lengths]) for part in (0, 1)]
        for jit in (False, True)
    ]
    yield Row.of(
        '- grows as n to the power of: time; memory',
        [f'{time:.2f}; {memory:.2f}' for time, memory in exponents],
        measure.verdict(max(exponents[0]), 1.1),
    )


def _exponent(lengths, figures):
    return float(np.polyfit(np.log(lengths), np.log(figures), 1)[0])


def _accuracy():
    grid = list(itertools.product(_LENGTHS, _DEGREES_OF_FREEDOM, _CORRELATIONS))
    worst = []
    for jit in (False, True):
        run = tf.function(log_prob, jit_compile=jit)
        errors = []
        for num_steps, df, correlation in grid:
            arguments = _arguments(num_steps, 64, df, correlation)
            exact = references.exact_log_prob(*arguments)
            errors.append(abs(float(run(*map(tf.constant, arguments))) - exact) / abs(exact))
        worst.append(max(errors))
    yield Row.of(
        f'float32 log_prob against float64, D = 64: largest relative error over n {_LENGTHS}, '
        f'df {_DEGREES_OF_FREEDOM}, correlation {_CORRELATIONS}',
        [f'{error:.1e}' for error in worst],
        measure.verdict(worst[0], 1e-5),
    )


def _updated(observations, df, loc, variance, correlation):
    """Returns the parameters given a sequence, one observation at a time."""

    def take(step, *parameters):
        process = ExchangeableStudentTProcess(*parameters, num_steps=1).update(observations[step])
        return step + 1, process.df, process.loc, process.marginal_variance, process.correlation

    def is_left(step, *_):
        return step < tf.shape(observations)[0]

    return tf.while_loop(is_left, take, (tf.constant(0), df, loc, variance, correlation))[1:]


def _stream():
    arguments = _arguments(1000, 1024)
    tensors = [tf.constant(part) for part in arguments]
    bulk = ExchangeableStudentTProcess(*tensors[1:], num_steps=1).posterior(tensors[0], num_steps=1)
    deviation = bulk.stddev()[0]
    figures = []
    for jit in (False, True):
        df, loc, variance, correlation = tf.function(_updated, jit_compile=jit)(*tensors)
        apart = (
            (df - bulk.df) / bulk.df,
            (loc - bulk.loc) / deviation,
            (variance - bulk.marginal_variance) / deviation**2,
            (correlation - bulk.correlation) / bulk.correlation,
        )
        figures.append(max(float(tf.reduce_max(tf.abs(part))) for part in apart))
    yield Row.of(
        '1000 one-by-one float32 updates against the bulk posterior, D = 1024: largest relative difference of a '
        'parameter (loc: in standard deviations)',
        [f'{figure:.1e}' for figure in figures],
        measure.verdict(figures[0], 1e-4),
    )
