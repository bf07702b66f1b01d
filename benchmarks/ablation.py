"""Trains one run with each kind of process for the same time, evaluates all, and writes one table.

python benchmarks/ablation.py --data_dir=POP --work_dir=RUNS --max_minutes=3
"""

import json
import pathlib
import subprocess
import sys

from absl import flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of volumes; default: built-in phantoms.')
WORK_DIR = flags.DEFINE_string('work_dir', None, 'Folder for the runs; finished ones are not repeated.', required=True)
CACHE_DIR = flags.DEFINE_string('cache_dir', None, 'Folder of the cache of volumes; default: that of the user.')
MAX_MINUTES = flags.DEFINE_float('max_minutes', 3.0, 'Training time of each run.', lower_bound=0.1)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- ablation --> is replaced by the table.')

KINDS = (
    ('average', 'gaussian'),
    ('exchangeable', 'gaussian'),
    ('exchangeable', 'student_t'),
    ('pose', 'gaussian'),
    ('pose', 'student_t'),
    ('factor', 'gaussian'),
    ('factor', 'student_t'),
)
BASELINES = {'training_mean': 'training mean', 'nearest_subject': 'nearest subject', 'linear': 'linear interpolation'}
COUNTS = ('0', '1', '3', '4', '7')


def main(argv):
    """Trains, evaluates and writes the table.

    Args:
        argv: the command and what is left of its arguments after the flags.

    Raises:
        UserError: if a run fails, or the file of --output cannot be used.
    """
    if len(argv) > 1:
        raise UserError(f'{argv[1]}: is no flag; see --help.')
    metrics = {kind: _run(*kind) for kind in KINDS}
    text = _table(metrics)
    print(text)
    if OUTPUT.value:
        app.import_tensorflow()
        from benchmarks.measure import replace_section

        replace_section(pathlib.Path(OUTPUT.value), 'ablation', text)


def _run(process, law):
    """Returns the metrics of one kind of process, trained now or earlier."""
    folder = pathlib.Path(WORK_DIR.value) / f'{process}_{law}'
    cache = [f'--cache_dir={CACHE_DIR.value}'] if CACHE_DIR.value else []
    report = folder / 'evaluation' / 'metrics.json'
    if not report.exists():
        data = [f'--data_dir={DATA_DIR.value}'] if DATA_DIR.value else []
        limits = [f'--max_minutes={MAX_MINUTES.value}', '--steps=1000000']
        kind = [f'--process={process}', f'--law={law}']
        if process == 'average':
            # Its density is only a means to the mean: slices are far from equal.
            kind.append('--conditional=0')
        _call('train', *data, *cache, *kind, *limits, f'--output_dir={folder}')
        _call('evaluate', f'--run_dir={folder}', *cache, '--num_samples=1', '--score_samples=1')
    steps = json.loads((folder / 'learning_curve.jsonl').read_text().splitlines()[-1])['step']
    return {**json.loads(report.read_text()), 'steps': steps}


def _call(name, *arguments):
    done = subprocess.run([sys.executable, str(ROOT / 'bin' / name), *arguments], check=False)
    if done.returncode:
        raise UserError(f'bin/{name} {" ".join(arguments)}: failed, see above.')


def _table(metrics):
    counts = ' | '.join(f'{count} ctx' for count in COUNTS)
    lines = [f'| process | law | steps | {counts} | bits/dim |', '|---|---|---|' + '---|' * (len(COUNTS) + 1)]
    for (process, law), values in metrics.items():
        scores = ' | '.join(_scores(values['contexts'][count]['mean_image']) for count in COUNTS)
        lines.append(f'| {process} | {law} | {values["steps"]} | {scores} | {values["bits_per_dimension"]:.3f} |')
    first = next(iter(metrics.values()))
    for key, name in BASELINES.items():
        scores = ' | '.join(_scores(first['contexts'][count][key]) for count in COUNTS)
        lines.append(f'| {name} | | | {scores} | |')
    return '\n'.join(lines) + '\n'


def _scores(values):
    return f'{values["mask_ssim"]:.3f} / {values["ssim"]:.3f}'


if __name__ == '__main__':
    app.run_main(main)
