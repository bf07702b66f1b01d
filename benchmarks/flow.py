"""Measures the flows beside their peers, each in a process of its own, and prints a markdown table.

    python benchmarks/flow.py [--original_dir=DIR] [--peer_python=PYTHON] [--output=benchmarks/README.md]

--original_dir is a clone of github.com/IraKorshunova/bruno, --peer_python the Python of an environment with torch,
normflows and absl-py; without them the rows of these peers are left out. Run it on a machine that does nothing else;
with both peers it takes some twenty minutes on two cores.
"""

import contextlib
import functools
import pathlib
import shutil
import statistics
import sys

from absl import flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import peer, script
from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

ORIGINAL_DIR = flags.DEFINE_string('original_dir', None, 'Folder of a clone of github.com/IraKorshunova/bruno.')
PEER_PYTHON = flags.DEFINE_string('peer_python', None, 'Python of an environment with torch, normflows and absl-py.')
REPEATS = flags.DEFINE_integer('repeats', 10, 'How many calls are timed.', lower_bound=1)
TURNS = flags.DEFINE_integer('turns', 12, 'How often those that are compared take turns.', lower_bound=1)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- flow --> is replaced by the table.')

_HEAD = '| Flow, 64 images of 32 x 32 | image to latent | latent to image | training step | first step | peak memory |'
_UNITS = '| | images/s | images/s | images/s | s | GB |'
_RULE = '|---|---|---|---|---|---|'
_BATCH_SIZE = 64
_BFLOAT16 = 'real_nvp, mixed_bfloat16'
_GLOW, _NORMFLOWS = 'Glow, 3 levels of 4 blocks', 'normflows, the same Glow'
# The row that takes the least memory.
_LEAST = 'real_nvp, in 8 parts, recomputed, one arena'
# What is compared with no peer's speed.
_ALONE = {
    'real_nvp, in 8 parts': ['--flow=real_nvp', '--micro_batches=8'],
    'real_nvp, recomputed': ['--flow=real_nvp', '--recompute'],
    _LEAST: ['--flow=real_nvp', '--micro_batches=8', '--recompute'],
    'glow': ['--flow=glow'],
}


def main():
    """Measures, prints, and writes the table where --output says.

    Raises:
        UserError: if a peer cannot be run, or the file of --output cannot be used.
    """
    if PEER_PYTHON.value and not shutil.which(PEER_PYTHON.value):
        raise UserError(f'--peer_python={PEER_PYTHON.value}: cannot be run; give a Python.')
    app.import_tensorflow()
    from benchmarks import measure

    figures, ceilings = _figures(lambda: measure.matmul_flops() / 1e9)
    lines = [_HEAD, _RULE, _UNITS, *(_line(name, each) for name, each in figures.items())]
    text = '\n'.join(
        [
            f'{measure.describe_machine()}. Ceiling, a product of two 2048 x 2048 float32 matrices: '
            f'{min(ceilings):.0f} to {max(ceilings):.0f} GFLOP/s, between steps of the RealNVP flow.',
            '',
            *lines,
            '',
            *_targets(figures, ceilings),
        ]
    )
    print(text)
    if OUTPUT.value:
        measure.replace_section(OUTPUT.value, 'flow', text)


def _figures(ceiling):
    """Returns the figures of every flow, by name, and what `ceiling` returned in its turns with the RealNVP flow."""
    ours = sys.executable, 'flow_step'
    original = sys.executable, 'peer_original', f'--original_dir={ORIGINAL_DIR.value}'
    real_nvp = {'original code': original} if ORIGINAL_DIR.value else {}
    real_nvp['real_nvp'] = *ours, '--flow=real_nvp'
    if peer.has_bfloat16():
        real_nvp[_BFLOAT16] = *ours, '--flow=real_nvp', '--precision=mixed_bfloat16'
    glow = {_GLOW: (*ours, '--flow=normflows_glow')}
    if PEER_PYTHON.value:
        glow[_NORMFLOWS] = PEER_PYTHON.value, 'peer_normflows'
    figures, (ceilings,) = _in_turn(real_nvp, 1, ceiling)
    for name, arguments in _ALONE.items():
        # glibc then keeps one pool of memory instead of one per thread.
        arena = {'MALLOC_ARENA_MAX': '1'} if name == _LEAST else {}
        with _running(*ours, *arguments, **arena) as alone:
            figures[name] = alone.figures
    return {**figures, **_in_turn(glow, 10)[0]}, ceilings


def _in_turn(calls, steps, *others):
    """Returns the figures of scripts, their training steps timed in turn, and what other functions returned then.

    Args:
        calls: By name, the arguments of `script.running`.
        steps: How many training steps each takes in its turn.
        *others: Functions that take turns with them.
    """
    with contextlib.ExitStack() as stack:
        scripts = {name: stack.enter_context(_running(*arguments)) for name, arguments in calls.items()}
        functions = [functools.partial(each.seconds, steps) for each in scripts.values()]
        taken = peer.in_turn([*functions, *others], TURNS.value)
    figures = {}
    for (name, own), seconds in zip(scripts.items(), taken, strict=False):
        speeds = [_BATCH_SIZE * steps / each for each in seconds]
        figures[name] = {**own.figures, 'speeds': speeds, 'training_images_per_second': statistics.median(speeds)}
    return figures, taken[len(scripts) :]


def _running(python, name, *arguments, **environment):
    return script.running(python, name, f'--repeats={REPEATS.value}', *arguments, **environment)


def _line(name, figures):
    keys = ('forward_images_per_second', 'inverse_images_per_second', 'training_images_per_second')
    cells = [f'{figures[key]:.3g}' if key in figures else '' for key in keys]
    cells += [f'{figures[key]:.2f}' if key in figures else '' for key in ('first_step_seconds', 'peak_gigabytes')]
    return f'| {name} | {" | ".join(cells)} |'


def _targets(figures, ceilings):
    """Yields a line for every target."""
    real_nvp, glow = figures['real_nvp'], figures['glow']
    if 'original code' in figures:
        original = figures['original code']
        # What is worked off in parts or recomputed is slower.
        best = max(_times(figures[name], original) for name in figures if name in ('real_nvp', _BFLOAT16))
        yield _target('real_nvp, float32, over the original, training', _times(real_nvp, original), 1.0, True)
        yield _target('real_nvp, best of all, over the original, training', best, 1.7, True)
    # Forward and backward are three passes.
    flops = 6e-9 * real_nvp['multiply_adds']
    share = _median_ratio([flops * speed for speed in real_nvp['speeds']], ceilings)
    yield _target('real_nvp, float32: multiply-adds of a training step over the ceiling', share, 0.85, True)
    yield _target('real_nvp: first step, s', real_nvp['first_step_seconds'], 31.0)
    yield _target('glow: first step, s', glow['first_step_seconds'], 12.0)
    yield _target(f'{_LEAST}: peak memory, GB', figures[_LEAST]['peak_gigabytes'], 1.6)
    for name in ('real_nvp', 'glow'):
        ratio = figures[name]['forward_images_per_second'] / figures[name]['inverse_images_per_second']
        yield _target(f'{name}: time of the inverse over the forward pass', ratio, 1.15)
    share = glow['multiply_adds'] / real_nvp['multiply_adds']
    yield _target('glow: multiply-adds over those of real_nvp', share, 1 / 3)
    if _NORMFLOWS in figures:
        yield _target('Glow over normflows, training', _times(figures[_GLOW], figures[_NORMFLOWS]), 1.3, True)
    kinds = {name: each for name, each in figures.items() if not name.startswith('real_nvp,')}
    sizes = ', '.join(f'{name} {each["parameters"]:,}' for name, each in kinds.items())
    adds = f'real_nvp {real_nvp["multiply_adds"] / 1e9:.2f} G, glow {glow["multiply_adds"] / 1e6:.1f} M'
    yield f'- Parameters: {sizes}. Multiply-adds of an image: {adds}.'


def _times(figures, others):
    """Returns how many times as fast one flow trains as another."""
    return _median_ratio(figures['speeds'], others['speeds'])


def _median_ratio(figures, others):
    """Returns the median over turns of a ratio."""
    return statistics.median(one / other for one, other in zip(figures, others, strict=True))


def _target(what, figure, bound, at_least=False):
    reached = figure >= bound if at_least else figure <= bound
    return f'- {what}: {figure:.2f} ({"≥" if at_least else "≤"} {bound:.3g}: {"reached" if reached else "missed"})'


if __name__ == '__main__':
    app.run_main(main)
