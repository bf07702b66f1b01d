"""Measures the flows beside their peers, each in a process of its own, and prints a markdown table.

    python benchmarks/flow.py [--original_dir=DIR] [--peer_python=PYTHON] [--output=benchmarks/README.md]

--original_dir is a clone of github.com/IraKorshunova/bruno, --peer_python the Python of an environment with torch,
normflows and absl-py; without them the rows of these peers are left out. Run it on a machine that does nothing else;
with both peers it takes half an hour on two cores.
"""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

ORIGINAL_DIR = flags.DEFINE_string('original_dir', None, 'Folder of a clone of github.com/IraKorshunova/bruno.')
PEER_PYTHON = flags.DEFINE_string('peer_python', None, 'Python of an environment with torch, normflows and absl-py.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'How many calls are timed.', lower_bound=1)
ROUNDS = flags.DEFINE_integer(
    'rounds', 2, 'How often all is measured, one after the other; the best of each figure counts.', lower_bound=1
)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- flow --> is replaced by the table.')

_HEAD = '| Flow, 64 images of 32 x 32 | image to latent | latent to image | training step | first step | peak memory |'
_UNITS = '| | images/s | images/s | images/s | s | GB |'
_RULE = '|---|---|---|---|---|---|'
# The row that takes the least memory.
_LEAST = 'official, in 8 parts, recomputed, one arena'


def main(argv):
    """Measures, prints, and writes the table where --output says.

    Args:
        argv: the command and what is left of its arguments after the flags.

    Raises:
        UserError: if a peer cannot be run, or the file of --output cannot be used.
    """
    if len(argv) > 1:
        raise UserError(f'{argv[1]}: is no flag; see --help.')
    app.import_tensorflow()
    from benchmarks import measure

    # The machine's ceiling drifts with what else it does.
    ceilings, rounds = [measure.matmul_flops() / 1e9], []
    for _ in range(ROUNDS.value):
        rounds.append(_figures())
        ceilings.append(measure.matmul_flops() / 1e9)
    figures = _best(rounds)
    lines = [_HEAD, _RULE, _UNITS, *(_line(name, each) for name, each in figures.items())]
    text = '\n'.join(
        [
            f'{measure.describe_machine()}. Ceiling, a product of two 2048 x 2048 float32 matrices: '
            f'{" and ".join(f"{ceiling:.0f}" for ceiling in ceilings)} GFLOP/s, before and after each round.',
            '',
            *lines,
            '',
            *_targets(figures, max(ceilings)),
        ]
    )
    print(text)
    if OUTPUT.value:
        measure.replace_section(OUTPUT.value, 'flow', text)


def _figures():
    """Returns the figures of every flow, by name."""
    figures = {}
    if ORIGINAL_DIR.value:
        figures['original code'] = _run(sys.executable, 'peer_original', f'--original_dir={ORIGINAL_DIR.value}')
    ours = {
        'official': ['--flow=official'],
        'official, in 8 parts': ['--flow=official', '--micro_batches=8'],
        'official, recomputed': ['--flow=official', '--recompute'],
        'compact': ['--flow=compact'],
        'Glow, 3 levels of 4 blocks': ['--flow=glow'],
    }
    if _has_bfloat16():
        ours['official, mixed_bfloat16'] = ['--flow=official', '--precision=mixed_bfloat16']
    for name, arguments in ours.items():
        figures[name] = _run(sys.executable, 'flow_step', *arguments)
    least = '--flow=official', '--micro_batches=8', '--recompute'
    figures[_LEAST] = _run(sys.executable, 'flow_step', *least, MALLOC_ARENA_MAX='1')
    if PEER_PYTHON.value:
        figures['normflows, the same Glow'] = _run(PEER_PYTHON.value, 'peer_normflows')
    return figures


def _best(rounds):
    """Returns the figures over several rounds: the best, as others' work can only slow; of memory, the most."""
    of_all = {name: [each[name] for each in rounds] for name in rounds[0]}
    return {
        name: {key: (min if key == 'first_step_seconds' else max)(each[key] for each in several) for key in several[0]}
        for name, several in of_all.items()
    }


def _has_bfloat16():
    """Returns whether the processor multiplies bfloat16; in software it takes many times as long as float32."""
    info = pathlib.Path('/proc/cpuinfo')
    return info.exists() and any(name in info.read_text() for name in ('avx512_bf16', 'amx_bf16'))


def _run(python, script, *arguments, **environment):
    """Returns what a script printed as JSON."""
    command = [python, str(ROOT / 'benchmarks' / f'{script}.py'), f'--repeats={REPEATS.value}', *arguments]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment})
    except OSError as error:
        raise UserError(f'--peer_python={python}: cannot be run ({error.strerror}); give a Python.') from error
    if done.returncode:
        raise UserError(f'benchmarks/{script}.py {" ".join(arguments)}: {done.stderr.strip().splitlines()[-1]}')
    print(script, *arguments, done.stdout.strip(), file=sys.stderr)
    return json.loads(done.stdout)


def _line(name, figures):
    keys = ('forward_images_per_second', 'inverse_images_per_second', 'training_images_per_second')
    cells = [f'{figures[key]:.3g}' if key in figures else '' for key in keys]
    cells += [f'{figures[key]:.2f}' if key in figures else '' for key in ('first_step_seconds', 'peak_gigabytes')]
    return f'| {name} | {" | ".join(cells)} |'


def _targets(figures, ceiling):
    """Yields a line for every target."""
    official, compact = figures['official'], figures['compact']
    speed = 'training_images_per_second'
    best = max(each[speed] for name, each in figures.items() if name.startswith('official'))
    if 'original code' in figures:
        original = figures['original code'][speed]
        yield _target('official, float32, over the original, training', official[speed] / original, 1.0, True)
        yield _target('official, best of all, over the original, training', best / original, 1.7, True)
    # Forward and backward are three passes.
    flops = 6e-9 * official['multiply_adds'] * official[speed] / ceiling
    yield _target('official, float32: multiply-adds of a training step over the ceiling', flops, 0.85, True)
    yield _target('official: first step, s', official['first_step_seconds'], 31.0)
    yield _target('compact: first step, s', compact['first_step_seconds'], 12.0)
    yield _target(f'{_LEAST}: peak memory, GB', figures[_LEAST]['peak_gigabytes'], 1.6)
    for name in ('official', 'compact'):
        ratio = figures[name]['forward_images_per_second'] / figures[name]['inverse_images_per_second']
        yield _target(f'{name}: time of the inverse over the forward pass', ratio, 1.15)
    share = compact['multiply_adds'] / official['multiply_adds']
    yield _target('compact: multiply-adds over those of official', share, 1 / 3)
    if 'normflows, the same Glow' in figures:
        ours, theirs = (figures[name][speed] for name in ('Glow, 3 levels of 4 blocks', 'normflows, the same Glow'))
        yield _target('Glow over normflows, training', ours / theirs, 1.3, True)
    kinds = {name: each for name, each in figures.items() if not name.startswith('official,')}
    sizes = ', '.join(f'{name} {each["parameters"]:,}' for name, each in kinds.items())
    adds = f'official {official["multiply_adds"] / 1e9:.2f} G, compact {compact["multiply_adds"] / 1e6:.1f} M'
    yield f'- Parameters: {sizes}. Multiply-adds of an image: {adds}.'


def _target(what, figure, bound, at_least=False):
    reached = figure >= bound if at_least else figure <= bound
    return f'- {what}: {figure:.2f} ({"≥" if at_least else "≤"} {bound:.3g}: {"reached" if reached else "missed"})'


if __name__ == '__main__':
    app.run_main(main)
