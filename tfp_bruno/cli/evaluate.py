"""Scores a trained model on fully known subjects, beside classical baselines.

    bin/evaluate --run_dir=RUN

Completes every test subject from each number of context slices of its dataset and writes metrics.json, metrics.md,
ssim_over_slices.png and completions.png to RUN/evaluation. With --data_dir other subjects are completed; in a folder
without a split, all are test subjects.

    bin/evaluate --compare=RUN1,RUN2,RUN3

Writes a table and plots of several runs, evaluated on the same subjects, to RUN1/comparison.

    bin/evaluate --run_dir=RUN --experiment=svr

Simulates test subjects that move between slices, and scores start volumes for slice-to-volume reconstruction; with
--compare=RUN1,RUN2 instead of --run_dir also the completions of other runs.
"""

import pathlib

from absl import flags, logging

from tfp_bruno import __version__, data
from tfp_bruno.cli import app
from tfp_bruno.cli.evaluated_subjects import Selection, load_populations
from tfp_bruno.cli.loading import (
    check_run_dir,
    define_align,
    define_run_dir,
    define_shard,
    define_temperature,
    load_model,
)
from tfp_bruno.contracts import CompletionModel, LocatingModel
from tfp_bruno.data.atomic import check_writable, write_text
from tfp_bruno.data.plain_text import printable
from tfp_bruno.errors import UserError
from tfp_bruno.evaluation import (
    EXPERIMENTS,
    EvaluatedRun,
    Provenance,
    check_comparable,
    choose_count,
    complete_examples,
    context_slices_of,
    evaluate,
    experiments,
    format_experiment,
    format_motion,
    format_summary,
    format_table,
    label_runs,
    name_completions,
    read_metrics,
    results_folder,
    run_motion_experiment,
    write_comparison,
    write_motion_report,
    write_report,
)

SVR = 'svr'

RUN_DIR = define_run_dir(required=False)
COMPARE = flags.DEFINE_list('compare', None, 'Evaluated runs, or exported models, to compare, instead of --run_dir.')
DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Folder of other volumes to evaluate on; default: the volumes of the run.'
)
TRAIN_DATA_DIR = flags.DEFINE_string(
    'train_data_dir', None, 'Folder of the volumes that the run was trained on, if they were moved.'
)
SPLIT = flags.DEFINE_enum('split', 'test', ['train', 'validation', 'test', 'all'], 'Subjects to evaluate on.')
EXPERIMENT = flags.DEFINE_enum(
    'experiment',
    None,
    [*sorted(EXPERIMENTS), SVR],
    "Experiment of the paper: its contexts and number of samples; the table shows the paper's scores, too. svr: start "
    'volumes for slice-to-volume reconstruction.',
)
CONTEXTS = flags.DEFINE_list('contexts', None, 'Numbers of context slices; default: all of the dataset definition.')
NUM_SAMPLES = flags.DEFINE_integer(
    'num_samples',
    None,
    'Number of samples per subject in the sample average; default: 20, in an experiment 100.',
    lower_bound=1,
)
SCORE_SAMPLES = flags.DEFINE_integer(
    'score_samples',
    None,
    'Number of these samples that are also scored one by one; default: 3, in an experiment all of them.',
    lower_bound=1,
)
MAX_SUBJECTS = flags.DEFINE_integer('max_subjects', None, 'Evaluate on the first few subjects only.', lower_bound=1)
SHARD = define_shard('the evaluation')
BASELINES = flags.DEFINE_bool(
    'baselines', True, 'Also complete the subjects with the classical baselines, which takes some minutes.'
)
CACHE_DIR = flags.DEFINE_string('cache_dir', None, "Folder of the cache of volumes; default: the user's cache.")
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the samples.', lower_bound=0)
OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder to write; default: inside the (first) run, or beside its file.'
)
TEMPERATURE = define_temperature()
ALIGN = define_align()

_NUM_SAMPLES = 20
_SCORE_SAMPLES = 3

flags.mark_flags_as_mutual_exclusive(['run_dir', 'compare'], required=True)
flags.mark_flags_as_mutual_exclusive(['experiment', 'contexts'])
flags.mark_flags_as_mutual_exclusive(['compare', 'contexts'])
flags.mark_flags_as_mutual_exclusive(['compare', 'shard'])


@flags.multi_flags_validator(
    ['experiment', 'compare'], message='--compare goes with no other experiment than --experiment=svr.'
)
def _compares_what_it_can(values: dict[str, object]) -> bool:
    return values['compare'] is None or values['experiment'] in (None, SVR)


@flags.multi_flags_validator(['experiment', 'shard'], message='--shard does not go with --experiment=svr.')
def _shards_what_it_can(values: dict[str, object]) -> bool:
    return values['shard'] is None or values['experiment'] != SVR


def main() -> None:
    """Evaluates a run, or compares several.

    Raises:
        UserError: If a flag, a file or a folder cannot be used.
    """
    # absl checks that exactly one of the two is given.
    run_dirs = COMPARE.value or [RUN_DIR.value or '']
    if EXPERIMENT.value == SVR:
        score_moving(run_dirs)
    elif COMPARE.value is not None:
        compare_runs([pathlib.Path(run) for run in COMPARE.value])
    elif RUN_DIR.value is not None:
        evaluate_run(pathlib.Path(RUN_DIR.value))


def evaluate_run(run_dir: pathlib.Path) -> None:
    """Evaluates one run, writes its report and prints a summary.

    Args:
        run_dir: The run's folder, or the file of an exported model.

    Raises:
        UserError: If a flag, a file or a folder cannot be used.
    """
    counts = parse_counts(CONTEXTS.value)
    shard = None if SHARD.value is None else data.Shard.parse(SHARD.value)
    check_run_dir(run_dir)
    folder = 'evaluation' if EXPERIMENT.value is None else EXPERIMENT.value
    output_dir = pathlib.Path(OUTPUT_DIR.value) if OUTPUT_DIR.value else results_folder(run_dir, folder)
    check_writable(output_dir, 'output_dir')
    model = load_model(run_dir, TEMPERATURE.value, ALIGN.value)
    check_counts(counts, model.definition)
    train, test = load_subjects(model)
    if shard is not None and not shard.indices(len(test.names)):
        logging.info('Shard %s holds none of the %d subjects.', shard, len(test.names))
        return
    provenance = provenance_of(model, test, str(run_dir))
    logging.info('Evaluating on %s.', test.description)
    experiment = None if EXPERIMENT.value is None else EXPERIMENTS[EXPERIMENT.value]
    slices = None if experiment is None else context_slices_of(experiment, model.definition)
    num_samples = NUM_SAMPLES.value or (_NUM_SAMPLES if experiment is None else experiments.NUM_SAMPLES)
    score_samples = SCORE_SAMPLES.value or (_SCORE_SAMPLES if experiment is None else num_samples)
    evaluation = evaluate(
        model,
        train,
        test,
        counts,
        num_samples,
        score_samples,
        SEED.value,
        slices,
        with_baselines=BASELINES.value,
        scored_dir=output_dir / 'subjects',
        shard=shard,
    )
    if shard is not None:
        logging.info('Shard %s: %d of %d subjects.', shard, evaluation.num_subjects, len(test.names))
        app.print_path(output_dir / 'subjects')
        return
    paths = write_report(output_dir, evaluation, provenance)
    summary = format_summary(evaluation, provenance)
    if experiment is not None:
        summary = format_experiment(experiment, evaluation, provenance)
        paths += (output_dir / 'experiment.md',)
        write_text(paths[-1], summary)
    print(f'{summary}\n')
    for path in paths:
        app.print_path(path)


def compare_runs(run_dirs: list[pathlib.Path]) -> None:
    """Compares evaluated runs and prints a table of their scores.

    Args:
        run_dirs: The runs' folders, or the files of exported models.

    Raises:
        UserError: If fewer than two are given or one twice, one has not been evaluated, they were evaluated on
            different subjects, or the subjects cannot be loaded.
    """
    if len({run_dir.resolve() for run_dir in run_dirs}) < max(2, len(run_dirs)):
        raise UserError(f'--compare={",".join(map(str, run_dirs))}: give two folders of runs or more, each once.')
    metrics = {str(run_dir): read_metrics(run_dir) for run_dir in run_dirs}
    slices = next(iter(metrics.values()))['context_slices'][choose_count(check_comparable(metrics))]
    output_dir = pathlib.Path(OUTPUT_DIR.value) if OUTPUT_DIR.value else results_folder(run_dirs[0], 'comparison')
    check_writable(output_dir, 'output_dir')
    models = [load_model(run_dir) for run_dir in run_dirs]
    labels = label_runs(models, run_dirs)
    test = load_subjects(models[0])[1]
    examples = complete_examples(dict(zip(labels, models, strict=True)), test, slices)
    runs = [
        EvaluatedRun(run_dir, label, model.has_exact_log_prob, metrics[str(run_dir)])
        for run_dir, label, model in zip(run_dirs, labels, models, strict=True)
    ]
    paths = write_comparison(output_dir, runs, examples)
    print('\n'.join([*format_table(runs), '']))
    for path in paths:
        app.print_path(path)


def score_moving(run_dirs: list[str]) -> None:
    """Runs the experiment with moving subjects, writes its report and prints it.

    Args:
        run_dirs: The runs' folders.

    Raises:
        UserError: If a flag, a file or a folder cannot be used, the runs are of different datasets, or all subjects
            fail.
    """
    for run_dir in run_dirs:
        check_run_dir(run_dir)
    output_dir = pathlib.Path(OUTPUT_DIR.value or results_folder(run_dirs[0], SVR))
    check_writable(output_dir, 'output_dir')
    models = [load_model(run_dir, TEMPERATURE.value, ALIGN.value) for run_dir in run_dirs]
    train, test = load_subjects(models[0])
    named = name_completions(models, run_dirs)
    found = run_motion_experiment(named, train, test, SEED.value, BASELINES.value)
    provenance = provenance_of(models[0], test, ', '.join(run_dirs))
    paths = write_motion_report(output_dir, found, provenance)
    print(format_motion(found, provenance))
    for path in paths:
        app.print_path(path)


def provenance_of(model: CompletionModel, test: data.Population, run: str) -> Provenance:
    """Returns what is evaluated: a model on subjects."""
    return Provenance(
        dataset=model.definition.name,
        split=SPLIT.value,
        data=test.description,
        is_phantom=test.is_phantom,
        run=printable(run),
        trained_on=model.info.data,
        version=__version__,
        temperature=model.temperature,
        sampling=dict(model.sampling),
        alignment=model.alignment if isinstance(model, LocatingModel) else None,
    )


def parse_counts(texts: list[str] | None) -> tuple[int, ...] | None:
    """Returns the numbers of contexts in `--contexts`.

    Args:
        texts: The elements of the flag; None if it was not given.

    Returns:
        The numbers; None if the flag was not given.

    Raises:
        UserError: If an element is not a whole number, or there is none.
    """
    if texts is None:
        return None
    if not texts or not all(text.isdecimal() for text in texts):
        raise UserError(f'--contexts={",".join(texts)}: give whole numbers separated by commas, like 0,1,4.')
    return tuple(int(text) for text in texts)


def check_counts(counts: tuple[int, ...] | None, definition: data.DatasetDefinition) -> None:
    """Raises a UserError if the dataset lacks one of these numbers of contexts; None stands for all that it defines."""
    known = sorted(definition.context_slices)
    for count in counts or ():
        if count not in known:
            raise UserError(
                f'--contexts={count}: {definition.name} does not define that number of contexts; give some of {known}.'
            )


def load_subjects(model: CompletionModel) -> tuple[data.Population, data.Population]:
    """Returns the training subjects of the run and the subjects to evaluate on, see `load_populations`."""
    selection = Selection(
        DATA_DIR.value, TRAIN_DATA_DIR.value, SPLIT.value, MAX_SUBJECTS.value, CACHE_DIR.value, BASELINES.value
    )
    return load_populations(model, selection)


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
