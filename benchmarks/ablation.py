"""Trains one run with each kind of process, without each ingredient, or for longer and longer, and writes one table.

python benchmarks/ablation.py --data_dir=POP --work_dir=RUNS --max_minutes=3
python benchmarks/ablation.py --study=ingredients --data_dir=POP --work_dir=RUNS --max_minutes=3
python benchmarks/ablation.py --study=training_time --data_dir=POP --work_dir=RUNS --figure=FILE.png
"""

import json
import pathlib
import subprocess
import sys

from absl import flags
from matplotlib.figure import Figure

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of volumes; default: built-in phantoms.')
WORK_DIR = flags.DEFINE_string('work_dir', None, 'Folder for the runs; finished ones are not repeated.', required=True)
CACHE_DIR = flags.DEFINE_string('cache_dir', None, 'Folder of the cache of volumes; default: that of the user.')
MAX_MINUTES = flags.DEFINE_float('max_minutes', 3.0, 'Training time of each run.', lower_bound=0.1)
STUDY = flags.DEFINE_enum(
    'study', 'processes', ['processes', 'ingredients', 'training_time'], 'What the runs differ in.'
)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- STUDY --> is replaced by the table.')
FIGURE = flags.DEFINE_string('figure', None, 'File for a picture of in-mask SSIM against training time.')

# For each study, the flags of bin/train that make each of its rows.
STUDIES = {
    'processes': {
        # The density of an average is only a means to the mean: slices are far from equal.
        'average, Gaussian': ['--set=model.process=average', '--set=model.df=none', '--set=objective.conditional=0'],
        'exchangeable, Gaussian': ['--set=model.process=exchangeable', '--set=model.df=none'],
        'exchangeable, Student-t': ['--set=model.process=exchangeable', '--set=model.df=20'],
        'pose, Gaussian': ['--set=model.process=pose', '--set=model.df=none'],
        'pose, Student-t': ['--set=model.process=pose', '--set=model.df=20'],
        'factor, Gaussian': ['--set=model.process=factor', '--set=model.df=none'],
        'factor, Student-t': ['--set=model.process=factor', '--set=model.df=20'],
    },
    'ingredients': {
        'all of them': [],
        'the start alone, one step': ['--steps=1'],
        'started from the subjects alone, no augmented copies': ['--set=start_volumes=0'],
        'no augmentation in training': ['--set=augmentation.probability=0'],
        "residual's variance as measured": ['--set=start.inflation=1'],
        'twice the margin of the logit': ['--set=model.flow.alpha=0.2'],
        '400 components of 2500 volumes': ['--set=model.factors=400', '--set=start_volumes=2500'],
        'without 1 - SSIM': ['--set=objective.structural=0'],
        '1 - SSIM of the foreground and of whole slices alike': ['--set=objective.foreground_share=0.5'],
        'without the likelihood': ['--set=objective.conditional=0'],
        'likelihood of all targets': ['--set=objective.scored_targets=8'],
        'all numbers of contexts drawn alike': ['--set=objective.context_power=1'],
        'each pose a code of its own': ['--set=model.flow.pose_width=0'],
        'without the squared error': ['--set=objective.prior_squared_error=0'],
    },
    'training_time': {
        'the start alone, one step': ['--steps=1'],
        '3 minutes': ['--max_minutes=3'],
        '12 minutes': ['--max_minutes=12'],
        '50 minutes, the preset': ['--max_minutes=50'],
        '2 hours': ['--max_minutes=120'],
    },
}
BASELINES = {
    'training_mean': 'training mean',
    'nearest_subject': 'nearest subject',
    'linear': 'linear interpolation',
    'kriged_components': 'components, kriged residual',
}
COUNTS = ('0', '1', '3', '4', '7')


def main():
    """Trains, evaluates and writes the table.

    Raises:
        UserError: if a run fails, or the file of --output or --figure cannot be used.
    """
    rows = STUDIES[STUDY.value]
    # The baselines are the same for all.
    metrics = {name: _run(f'{STUDY.value}_{index}', row, index == 0) for index, (name, row) in enumerate(rows.items())}
    text = _table(metrics)
    print(text)
    if OUTPUT.value:
        app.import_tensorflow()
        from benchmarks.measure import replace_section

        replace_section(pathlib.Path(OUTPUT.value), STUDY.value, text)
    if FIGURE.value:
        _draw(metrics, FIGURE.value)


def _run(name, row, with_baselines):
    """Returns the metrics of a run with the flags of a row, trained now or earlier."""
    folder = pathlib.Path(WORK_DIR.value) / name
    cache = [f'--cache_dir={CACHE_DIR.value}'] if CACHE_DIR.value else []
    report = folder / 'evaluation' / 'metrics.json'
    if not report.exists():
        data = [f'--data_dir={DATA_DIR.value}'] if DATA_DIR.value else []
        limits = ['--steps=1000000', f'--max_minutes={MAX_MINUTES.value}']
        _call('train', '--preset=cpu', *data, *cache, *limits, *row, f'--output_dir={folder}')
        few = ['--num_samples=1', '--score_samples=1', f'--baselines={with_baselines}']
        _call('evaluate', f'--run_dir={folder}', *cache, *few)
    last = json.loads((folder / 'learning_curve.jsonl').read_text().splitlines()[-1])
    return {**json.loads(report.read_text()), 'steps': last['step'], 'minutes': last['seconds'] / 60}


def _call(name, *arguments):
    done = subprocess.run([sys.executable, str(ROOT / 'bin' / name), *arguments], check=False)
    if done.returncode:
        raise UserError(f'bin/{name} {" ".join(arguments)}: failed, see above.')


def _table(metrics):
    counts = ' | '.join(f'{count} ctx' for count in COUNTS)
    lines = [f'| {STUDY.value} | steps | {counts} | bits/dim |', '|---|---|' + '---|' * (len(COUNTS) + 1)]
    for name, values in metrics.items():
        scores = ' | '.join(_scores(values['contexts'][count]['mean_image']) for count in COUNTS)
        lines.append(f'| {name} | {values["steps"]} | {scores} | {values["bits_per_dimension"]:.3f} |')
    first = next(iter(metrics.values()))
    for key, name in BASELINES.items():
        scores = ' | '.join(_scores(first['contexts'][count][key]) for count in COUNTS)
        lines.append(f'| {name} | | {scores} | |')
    return '\n'.join(lines) + '\n'


def _draw(metrics, path):
    """Draws in-mask SSIM against training time, beside the best baseline, for each number of contexts."""
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.add_subplot()
    runs = sorted(metrics.values(), key=lambda values: values['minutes'])
    minutes = [run['minutes'] for run in runs]
    baselines = next(iter(metrics.values()))['contexts']
    for index, count in enumerate(COUNTS):
        ours = [run['contexts'][count]['mean_image']['mask_ssim'] for run in runs]
        best = max(baselines[count][name]['mask_ssim'] for name in BASELINES)
        axes.plot(minutes, ours, f'C{index}o-', label=f'{count} contexts')
        axes.axhline(best, color=f'C{index}', linestyle=':')
    axes.set_xscale('symlog', linthresh=3)
    axes.set_xlim(left=-0.3)
    axes.set_xticks(minutes, [f'{each:.0f}' for each in minutes])
    axes.minorticks_off()
    axes.set(xlabel='minutes of training', ylabel='in-mask SSIM of the mean image')
    figure.legend(title='dotted: best baseline', loc='outside right upper')
    try:
        figure.savefig(path, dpi=100)
    except (OSError, ValueError) as error:
        raise UserError(f'--figure={path}: cannot be written ({error}); give another file.') from error


def _scores(values):
    return f'{values["mask_ssim"]:.3f} / {values["ssim"]:.3f}'


if __name__ == '__main__':
    app.run_main(main)
