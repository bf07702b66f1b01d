"""Trains a model on a folder of volumes, or on the built-in phantom population.

    bin/train --dataset=fetal --data_dir=VOLUMES --output_dir=RUN
    bin/train --output_dir=RUN --resume

A preset holds all settings of the model and its training; --set changes any of them. The run is ready for bin/evaluate
and bin/reconstruct as soon as the first checkpoint is written.
"""

import contextlib
import dataclasses
import pathlib
import sys
import textwrap
import typing
from typing import Any

from absl import flags, logging

from tfp_bruno import data
from tfp_bruno.cli import app
from tfp_bruno.cli.loading import load_volumes
from tfp_bruno.contracts import RunInfo
from tfp_bruno.data.atomic import check_writable
from tfp_bruno.data.plain_text import check_run_name, check_utf8
from tfp_bruno.errors import UserError
from tfp_bruno.settings import change, first_error, list_settings

if typing.TYPE_CHECKING:
    from tfp_bruno.runs import Run

DATASET = flags.DEFINE_string('dataset', 'fetal', 'Anatomy: fetal, adni or thorax.')
DATASET_CONFIG = flags.DEFINE_string(
    'dataset_config', None, 'TOML file that defines another anatomy, instead of --dataset; see docs/volumes.md.'
)
DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of NIfTI volumes, flat or BIDS; default: built-in phantoms.')
USE_MASKS = flags.DEFINE_bool(
    'use_masks',
    False,
    'Set everything outside of the masks to background. Each volume of --data_dir has a mask in its folder: '
    'sub-01_mask, sub-01_desc-brain_mask, case_01_mask.',
)
ASSUME_RAS = flags.DEFINE_bool(
    'assume_ras', False, 'Take volumes and masks without an orientation as RAS, centred at world 0.'
)
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder of the run.', required=True)
MODEL = flags.DEFINE_enum(
    'model', 'bruno', ['bruno', 'gqn', 'cvae'], 'ConditionalBruno, Generative Query Network or conditional VAE.'
)
PRESET = flags.DEFINE_string(
    'preset', None, 'Settings to start from: map, cpu, gpu, paper, or a TOML file; default: map, and cpu for baselines.'
)
SET = flags.DEFINE_multi_string(
    'set', [], 'Change a setting: --set=objective.prior_decay=3.5; can be repeated. --help lists all settings.'
)
STEPS = flags.DEFINE_integer('steps', None, 'Number of training steps.', lower_bound=1)
MAX_MINUTES = flags.DEFINE_float('max_minutes', None, 'Time limit of the training loop; 0 for none.', lower_bound=0.0)
BATCH_SIZE = flags.DEFINE_integer('batch_size', None, 'Subjects in a step.', lower_bound=1)
POSES = flags.DEFINE_enum(
    'poses',
    None,
    ['stack', 'rigid'],
    'Slices of the training, with the preset map: planes of the scanner, or random planes of any direction.',
)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of split, weights and batches.', lower_bound=0, upper_bound=2**31 - 1)
RESUME = flags.DEFINE_bool(
    'resume', False, 'Continue the run in --output_dir with its settings; a new --steps or --max_minutes extends it.'
)
CACHE_DIR = flags.DEFINE_string('cache_dir', None, "Folder of the cache of volumes; default: the user's cache.")
PHANTOM_SUBJECTS = flags.DEFINE_integer('phantom_subjects', 120, 'Size of the built-in population.', lower_bound=4)
STRATEGY = flags.DEFINE_enum(
    'strategy',
    'auto',
    ['auto', 'one', 'mirrored', 'multi_worker'],
    'one device; mirrored: every GPU, or every CPU device; multi_worker: all processes of the environment variable '
    'TF_CONFIG, see docs/training.md; auto: mirrored if there are several GPUs.',
)
ON_NAN = flags.DEFINE_enum(
    'on_nan',
    'halt',
    ['halt', 'rollback'],
    'If the loss is no longer finite: end, or go back to the last checkpoint with half the learning rate.',
)

_DEFAULT_PRESETS = {'bruno': 'map', 'gqn': 'cpu', 'cvae': 'cpu'}
# Settings that have their own flag.
_NAMED = (STEPS, MAX_MINUTES, BATCH_SIZE, POSES, SEED)
# Settings that follow from the dataset.
_DECIDED = ('model.image_shape', 'model.num_slices')
# Settings that --resume may change, and the flags that it accepts.
_LENGTH = ('steps', 'max_minutes', 'evaluate_every', 'learning_rate')
_WITH_RESUME = ('steps', 'max_minutes', 'set', 'output_dir', 'resume', 'data_dir', 'cache_dir', 'strategy', 'on_nan')


def main() -> None:
    """Starts or resumes a training.

    Raises:
        UserError: If a flag, a file or a folder cannot be used.
    """
    folder = pathlib.Path(OUTPUT_DIR.value)
    check_run_name(folder)
    definition = _read_definition()
    if STRATEGY.value != 'multi_worker':
        _check_folder(folder)
    if DATA_DIR.value is not None:
        check_utf8(pathlib.Path(DATA_DIR.value).resolve())
        data.check_folder(DATA_DIR.value, USE_MASKS.value)
    elif not RESUME.value:
        _check_needs_data_dir(USE_MASKS, ASSUME_RAS)
    # TensorFlow takes seconds to import: the checks above do not wait for it.
    app.import_tensorflow()
    from tfp_bruno import runs
    from tfp_bruno.training import TrainingStoppedError, Workers, choose_strategy, train_run, wait_for_file

    # First: no operation of TensorFlow may run before the workers are joined.
    strategy = choose_strategy(STRATEGY.value)
    workers = Workers(strategy)
    with contextlib.ExitStack() as stack:

        def prepare() -> tuple[Any, data.Population]:
            if workers.is_chief:
                stack.enter_context(runs.lock_run(folder))
                # Again: another training may have begun there since.
                _check_folder(folder)
                return _prepare(folder, definition, exists=RESUME.value)
            wait_for_file(folder / 'run.json')
            return _prepare(folder, definition, exists=True)

        run, population = workers.chief_first(prepare)
        try:
            cache_dir = CACHE_DIR.value or data.default_cache_dir()
            train_run(run, population, strategy, cache_dir, ON_NAN.value)
        except TrainingStoppedError as stop:
            print(f'bin/train: {app.with_flags(str(stop))}', file=sys.stderr)
            sys.exit(128 + stop.signal_number)
    if workers.is_chief:
        app.print_path(folder)


def _prepare(folder: pathlib.Path, definition: data.DatasetDefinition, exists: bool) -> tuple[Any, data.Population]:
    """Returns the run, new or from its folder, with its settings on disk, and its volumes."""
    from tfp_bruno import runs

    if exists:
        run = runs.read_run(folder)
        run = _resumed(run) if RESUME.value else run
        splits = data.read_split(run.split_file)
        data_dir = DATA_DIR.value or run.info.data_dir
        population = load_volumes(run.definition, run.info, data_dir, CACHE_DIR.value, splits)
    else:
        model, training = _new_settings(definition)
        info = _new_info()
        population = load_volumes(
            definition, info, info.data_dir, CACHE_DIR.value, validation_share=training.validation_share
        )
        frame = None if population.frame is None else population.frame.to_json()
        info = dataclasses.replace(info, data=population.description, is_phantom=population.is_phantom, frame=frame)
        run = runs.Run(folder, definition, model, training, info)
        data.write_split(run.split_file, population.splits_by_name)
        # Last: a folder with settings is a run that can be resumed.
        runs.write_run(run)
    logging.info('Data: %s.', population.description)
    return run, population


def _preset() -> str:
    """Returns the preset that is asked for, or else the default one of the kind of model."""
    return PRESET.value or _DEFAULT_PRESETS[MODEL.value]


def describe_settings() -> str:
    """Returns the part of `--help` that lists the settings of the chosen preset."""
    app.import_tensorflow()
    model, training = _new_settings(_read_definition())
    lines = [f'settings of --model={MODEL.value} --preset={_preset()}, for --set=NAME=VALUE:']
    for prefix, settings in (('', training), ('model.', model)):
        for setting in list_settings(settings, prefix):
            if setting.name in _DECIDED:
                continue
            lines += [
                '',
                f'  {setting}',
                *textwrap.wrap(setting.text, 80, initial_indent='    ', subsequent_indent='    '),
            ]
    return '\n'.join(lines)


def find_setting(flag: str) -> str | None:
    """Returns the assignment of the setting with the name of an unknown flag; None if there is no such setting."""
    app.import_tensorflow()
    model, training = _new_settings(_read_definition())
    names = [setting.name for setting in (*list_settings(training), *list_settings(model, 'model.'))]
    found = [name for name in names if name.rpartition('.')[2] == flag]
    return f'--set={found[0]}=VALUE' if found else None


def _new_settings(definition: data.DatasetDefinition) -> tuple[Any, Any]:
    """Returns the settings of the model and of its training from the flags."""
    from tfp_bruno.training import make_settings, read_preset

    preset = read_preset(MODEL.value, _preset())
    # The preset alone first, so that an error in a file names the file.
    settings = make_settings(MODEL.value, preset, definition, f'`preset={_preset()}`')
    assignments = [*SET.value, *_assignments(*_NAMED)]
    return make_settings(MODEL.value, change(preset, assignments), definition, '`set`') if assignments else settings


def _new_info() -> RunInfo:
    """Returns the description of the training data from the flags."""
    return RunInfo(
        data_dir=None if DATA_DIR.value is None else str(pathlib.Path(DATA_DIR.value).resolve()),
        data='',
        is_phantom=False,
        phantom_subjects=PHANTOM_SUBJECTS.value,
        seed=SEED.value,
        preset=_preset(),
        use_masks=USE_MASKS.value,
        assume_ras=ASSUME_RAS.value,
    )


def _resumed(run: 'Run') -> 'Run':
    """Returns a run with the length that the flags give; its other settings are kept."""
    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        if flag.present and flag.name not in _WITH_RESUME:
            raise UserError(f'--{flag.name}: cannot change with --resume; leave it out, or start another run.')
    for assignment in SET.value:
        if assignment.partition('=')[0] not in _LENGTH:
            raise UserError(f'--set={assignment}: cannot change with --resume; leave it out, or start another run.')
    length = {name: getattr(run.training, name) for name in _LENGTH}
    changed = change(length, [*SET.value, *_assignments(STEPS, MAX_MINUTES)])
    try:
        return dataclasses.replace(run, training=dataclasses.replace(run.training, **changed))
    except ValueError as error:
        raise UserError(f'--set: {first_error(error, changed)}') from error


def _assignments(*named: flags.FlagHolder) -> list[str]:
    return [f'{flag.name}={flag.value}' for flag in named if flag.value is not None]


def _read_definition() -> data.DatasetDefinition:
    if DATASET_CONFIG.value is None:
        return data.get_definition(DATASET.value)
    if flags.FLAGS['dataset'].present:
        raise UserError('--dataset, --dataset_config: exclude each other; leave one out.')
    if DATA_DIR.value is None:
        raise UserError('--data_dir: is missing; there are phantoms of the named datasets only.')
    return data.read_definition(DATASET_CONFIG.value)


def _check_needs_data_dir(*chosen: flags.FlagHolder[bool]) -> None:
    for flag in chosen:
        if flag.value:
            raise UserError(f'--{flag.name}: needs --data_dir; leave it out for the built-in phantoms.')


def _is_unused(folder: pathlib.Path) -> bool:
    """Whether a folder holds nothing, or only what a run left that ended before its settings were written."""
    return {path.name for path in folder.iterdir()} <= {'.lock', 'split.tsv'}


def _check_folder(folder: pathlib.Path) -> None:
    if RESUME.value:
        if not (folder / 'run.json').is_file():
            raise UserError(f'--output_dir={folder}: holds no run to resume; leave out --resume to start one.')
    elif folder.exists() and (not folder.is_dir() or not _is_unused(folder)):
        raise UserError(f'--output_dir={folder}: exists and is not empty; give another folder, or --resume.')
    check_writable(folder, 'output_dir')


def run() -> None:
    """Runs the command line."""
    app.run_main(main, describe_settings, find_setting)
