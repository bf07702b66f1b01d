"""The pose and the factor processes: density, gradients, prediction and joint samples."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from benchmarks import measure
from benchmarks.measure import Row
from tfp_bruno import distributions

__all__ = ['rows']

_NUM_SLICES = 80
_DIMENSION = 4096
_LENGTH = 8.0


def rows(repeats, flops):
    """Yields the `Row`s of the table.

    Args:
        repeats: Every time is the median of at least so many calls.
        flops: Operations per second of the machine's ceiling.
    """
    return itertools.chain(_densities(repeats), _predictions(repeats), _factors(repeats, flops))


def _poses(slices):
    return tf.one_hot(slices, _NUM_SLICES)


def _parameters():
    """Returns (df, loc, variance, correlation), each `[D]`."""
    generator = np.random.default_rng(0)
    bounds = ((3.0, 30.0), (-1.0, 1.0), (0.5, 2.0), (0.1, 0.9))
    return [tf.constant(generator.uniform(*ends, _DIMENSION), tf.float32) for ends in bounds]


def _normal(*shape):
    return tf.random.stateless_normal(shape, seed=(1, 2))


def _exchangeable_log_prob(law, observations, poses, *parameters):
    del poses
    process = getattr(distributions, f'Exchangeable{law}Process')
    return process(*parameters, num_steps=observations.shape[-2]).log_prob(observations)


def _pose_process(law, poses, *parameters):
    kernel = distributions.slice_kernel(_LENGTH, _NUM_SLICES)
    return getattr(distributions, f'Pose{law}Process')(*parameters, kernel, constant_share=0.3, poses=poses)


def _pose_log_prob(law, observations, poses, *parameters):
    return _pose_process(law, poses, *parameters).log_prob(observations)


def _densities(repeats):
    observations, poses = _normal(32, _DIMENSION), _poses(np.arange(32) * 2)
    for law, words in (('StudentT', 'Student-t'), ('Gaussian', 'Gaussian')):
        arguments = [observations, poses, *_parameters()[law == 'Gaussian' :]]
        seconds = {}
        for name, function in (('exchangeable', _exchangeable_log_prob), ('pose', _pose_log_prob)):
            seconds[name] = [
                _seconds(functools.partial(function, law), arguments, jit, repeats) for jit in (False, True)
            ]
            yield Row.of(
                f'log_prob, n = 32, D = {_DIMENSION}, {words}: {name} process',
                [measure.milliseconds(each) for each in seconds[name]],
            )
        ratios = [pose / plain for pose, plain in zip(seconds['pose'], seconds['exchangeable'], strict=True)]
        yield Row.of(
            "- times the exchangeable one's",
            [f'{ratio:.2f} x' for ratio in ratios],
            measure.verdict(ratios[0], 3.0, ' x'),
        )


def _seconds(function, arguments, jit, repeats):
    return measure.median_seconds(tf.function(function, jit_compile=jit), *arguments, repeats=repeats)


def _predictions(repeats):
    contexts = (10, 30, 50, 70)
    context_poses = _poses(contexts)
    poses = _poses([k for k in range(_NUM_SLICES) if k not in contexts])
    arguments = [_normal(4, _DIMENSION), *_parameters()]

    def posterior(observations, *parameters):
        return _pose_process('StudentT', poses, *parameters).posterior(observations, context_poses)

    cases = (
        ('posterior mean', lambda *values: posterior(*values).mean()),
        ('joint sample', lambda *values: posterior(*values).sample(seed=(1, 2))),
    )
    for what, function in cases:
        yield Row.of(
            f'Pose process, Student-t, 4 contexts, 76 targets, D = {_DIMENSION}: {what}',
            [measure.milliseconds(_seconds(function, arguments, jit, repeats)) for jit in (False, True)],
        )


def _factor_log_prob(poses, observations, df, loc, variance, correlation, share, length, loadings):
    """Returns the density of a batch of sequences `[B, n, D]`, summed."""
    kernel = distributions.slice_kernel(length, _NUM_SLICES)
    process = distributions.FactorStudentTProcess(
        df, loc, loadings, variance, correlation, kernel, constant_share=share, poses=poses
    )
    return tf.reduce_sum(process.log_prob(observations))


def _factors(repeats, flops):
    batch, num_steps, num_factors = 4, 9, 128
    slices = np.stack([np.random.default_rng(seed).permutation(_NUM_SLICES)[:num_steps] for seed in range(batch)])
    poses = _poses(slices)
    _, loc, variance, _ = _parameters()
    scalars = [tf.constant(value) for value in (50.0, 0.9, 0.1, _LENGTH)]
    loadings = 0.1 * _normal(_NUM_SLICES, _DIMENSION, num_factors)
    arguments = [_normal(batch, num_steps, _DIMENSION), scalars[0], loc, variance, *scalars[1:], loadings]
    whole = batch * num_steps * _DIMENSION * num_factors
    size = f'n = {num_steps}, D = {_DIMENSION}, q = {num_factors}, batch {batch}, table of {_NUM_SLICES} poses'
    log_prob = functools.partial(_factor_log_prob, poses)

    def gradients(num_sources):
        def value_and_gradients(*values):
            with tf.GradientTape() as tape:
                tape.watch(values[:num_sources])
                density = log_prob(*values)
            return density, tape.gradient(density, values[:num_sources])

        return value_and_gradients

    yield Row.of(
        f'Factor process, Student-t, {size}: multiply-adds of n D q^2 a subject',
        [f'{whole * num_factors / 1e9:.2f} G in all, {2e3 * whole * num_factors / flops:.0f} ms at the ceiling'],
    )
    # A gradient with respect to the loadings needs one more product of the same size as that of the density.
    cases = (
        ('log_prob', log_prob, 1, None),
        ('log_prob and its gradient by the observations', gradients(1), 1, 0.1),
        ('log_prob and its gradient by the observations and all parameters', gradients(len(arguments)), 2, 0.1),
    )
    for what, function, products, bound in cases:
        figures = []
        for jit in (False, True):
            run = tf.function(function, jit_compile=jit)
            if not measure.can_run(run, *arguments):
                figures.append((float('nan'), 'fails to compile'))
                continue
            seconds = measure.median_seconds(run, *arguments, repeats=repeats)
            share = 2.0 * products * whole * num_factors / seconds / flops
            memory = measure.peak_bytes(run, *arguments) / (4 * whole)
            figures.append((seconds, f'{measure.milliseconds(seconds)}; {share:.0%} of the ceiling; {memory:.1f}'))
        yield Row.of(
            f'- {what}: time; arithmetic; peak memory in units of {4 * whole / 2**20:.0f} MiB, batch x n D q numbers',
            [text for _, text in figures],
            '' if bound is None else measure.verdict(1e3 * figures[0][0], 1e3 * bound, ' ms'),
        )
