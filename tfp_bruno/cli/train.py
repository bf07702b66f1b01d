"""Trains a model on a folder of volumes, or on the built-in phantom population.

    bin/train --dataset=fetal --data_dir=VOLUMES --output_dir=RUN
    bin/train --output_dir=RUN --resume

Every flag of a preset can be overridden; --flagfile=FILE reads flags from a file. The run is ready for bin/evaluate and
bin/reconstruct as soon as the first checkpoint is written.
"""

import dataclasses
import pathlib

from absl import flags, logging

from tfp_bruno import data
from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

DATASET = flags.DEFINE_string('dataset', 'fetal', 'Anatomy: fetal, adni or thorax.')
DATASET_CONFIG = flags.DEFINE_string(
    'dataset_config', None, 'TOML file that defines an anatomy of your own, instead of --dataset; see docs/volumes.md.'
)
DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of NIfTI volumes, flat or BIDS; default: built-in phantoms.')
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder of the run.', required=True)
PRESET = flags.DEFINE_enum('preset', 'cpu', ['cpu', 'paper'], 'Settings to start from.')
RESUME = flags.DEFINE_bool(
    'resume',
    False,
    'Go on with the run in --output_dir and its settings; a new --steps or --max_minutes extends it.',
)
CACHE_DIR = flags.DEFINE_string('cache_dir', None, 'Folder of the cache of volumes; default: that of the user.')
PHANTOM_SUBJECTS = flags.DEFINE_integer('phantom_subjects', 120, 'Size of the built-in population.', lower_bound=4)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of split, weights and batches.', lower_bound=0)
DEVICES = flags.DEFINE_enum(
    'devices',
    'auto',
    ['auto', 'one', 'all'],
    'auto: all GPUs if there are several. all: every GPU, or every CPU device.',
)
STEPS = flags.DEFINE_integer('steps', None, 'Number of training steps.', lower_bound=1)
MAX_MINUTES = flags.DEFINE_float('max_minutes', None, 'Time limit of the training loop; 0 for none.', lower_bound=0.0)
BATCH_SIZE = flags.DEFINE_integer('batch_size', None, 'Subjects in a step.', lower_bound=1)
MICRO_BATCHES = flags.DEFINE_integer(
    'micro_batches', None, 'Parts that a step is worked off in; more need less memory.', lower_bound=1
)
SEQUENCE_LENGTH = flags.DEFINE_integer('sequence_length', None, 'Slices of a subject in a step, M.', lower_bound=2)
LEARNING_RATE = flags.DEFINE_float('learning_rate', None, 'Peak learning rate.', lower_bound=0.0)
EVALUATE_EVERY = flags.DEFINE_integer('evaluate_every', None, 'Steps between checkpoints.', lower_bound=1)
BENDING = flags.DEFINE_float(
    'bending', None, 'Share of the sequences drawn from a bent volume.', lower_bound=0.0, upper_bound=1.0
)
JOINT = flags.DEFINE_float('joint', None, 'Weight of the joint likelihood.', lower_bound=0.0)
CONDITIONAL = flags.DEFINE_float('conditional', None, 'Weight of the conditional likelihood.', lower_bound=0.0)
PREDICTIVE = flags.DEFINE_float('predictive', None, 'Weight of the error of the predictive mean.', lower_bound=0.0)
PROCESS = flags.DEFINE_enum(
    'process', None, ['average', 'exchangeable', 'pose', 'factor'], 'Process over the latent vectors.'
)
LAW = flags.DEFINE_enum('law', None, ['gaussian', 'student_t'], 'Law of the process.')
FLOW = flags.DEFINE_enum('flow', None, ['compact', 'official'], 'Architecture of the flow, with its own defaults.')
PRECISION = flags.DEFINE_enum(
    'precision',
    None,
    ['float32', 'mixed_bfloat16', 'mixed_float16'],
    "Of the flow's networks; weights and log-determinants stay float32.",
)
INDEPENDENT_TARGETS = flags.DEFINE_bool(
    'independent_targets', None, 'Conditional likelihood of each target on its own, as in the official code.'
)
FACTORS = flags.DEFINE_integer('factors', None, 'Factors of the subject, with --process=factor.', lower_bound=1)


def main(argv):
    """Trains as the flags say.

    Args:
        argv: the command and what is left of its arguments after the flags.

    Raises:
        UserError: if a flag, a file or a folder cannot be used.
    """
    if len(argv) > 1:
        raise UserError(f'{argv[1]}: is no flag; see --help.')
    folder = pathlib.Path(OUTPUT_DIR.value)
    definition = _read_definition()
    _check_folder(folder)
    if DATA_DIR.value is not None:
        data.find_subjects(DATA_DIR.value)
    # TensorFlow takes seconds to import: everything above fails, if it must, at once.
    app.import_tensorflow()
    from tfp_bruno import runs
    from tfp_bruno.training.run import train_run

    if RESUME.value:
        run = _resumed_run(runs.read_run(folder))
        splits = data.read_split(run.split_file)
    else:
        run, splits = _new_run(folder, definition), None
    population = data.load_population(
        run.definition,
        DATA_DIR.value or run.info['data_dir'],
        CACHE_DIR.value,
        run.info['seed'],
        phantom_subjects=run.info['phantom_subjects'],
        splits=splits,
    )
    logging.info('Data: %s.', population.description)
    if not RESUME.value:
        run = dataclasses.replace(
            run,
            info={
                **run.info,
                'data': population.description,
                'is_phantom': population.is_phantom,
                'frame': population.frame.to_json(),
            },
        )
        runs.write_run(run)
        data.write_split(run.split_file, population.splits_by_name)
    train_run(run, population, DEVICES.value)
    print(folder)


def _read_definition():
    if DATASET_CONFIG.value is None:
        return data.get_definition(DATASET.value)
    if DATASET.present:
        raise UserError('--dataset, --dataset_config: exclude each other; leave one out.')
    if DATA_DIR.value is None:
        raise UserError('--data_dir: is missing; there are phantoms of the named datasets only.')
    return data.read_definition(DATASET_CONFIG.value)


def _check_folder(folder):
    if RESUME.value:
        if not (folder / 'run.json').is_file():
            raise UserError(f'--output_dir={folder}: holds no run to resume; leave --resume out to start one.')
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f'--output_dir={folder}: exists and is not empty; give another folder, or --resume.')
    try:
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / '.writable').touch()
        (folder / '.writable').unlink()
        if is_new:
            # Nothing is left behind if the volumes turn out to be unusable.
            folder.rmdir()
    except OSError as error:
        raise UserError(
            f'--output_dir={folder}: cannot be written ({error.strerror}); give a folder you can write.'
        ) from error


def _new_run(folder, definition):
    from tfp_bruno.bijectors import ARCHITECTURES
    from tfp_bruno.models import ModelSettings
    from tfp_bruno.runs import Run
    from tfp_bruno.training.settings import PRESETS

    preset = PRESETS[PRESET.value]
    objective = _override(
        preset.training.objective,
        joint=JOINT,
        conditional=CONDITIONAL,
        predictive=PREDICTIVE,
        independent_targets=INDEPENDENT_TARGETS,
    )
    bending = _override(preset.training.bending, probability=BENDING)
    training = _override(
        dataclasses.replace(preset.training, objective=objective, bending=bending, seed=SEED.value),
        steps=STEPS,
        max_minutes=MAX_MINUTES,
        batch_size=BATCH_SIZE,
        micro_batches=MICRO_BATCHES,
        sequence_length=SEQUENCE_LENGTH,
        learning_rate=LEARNING_RATE,
        evaluate_every=EVALUATE_EVERY,
    )
    if training.batch_size % training.micro_batches:
        raise UserError(
            f'--micro_batches={training.micro_batches}: must divide --batch_size={training.batch_size}; give a divisor.'
        )
    if training.sequence_length > definition.num_slices:
        raise UserError(
            f'--sequence_length={training.sequence_length}: {definition.name} has {definition.num_slices} slices.'
        )
    size = definition.image_size
    flow = preset.flow
    if FLOW.value not in (None, flow.architecture):
        flow = ARCHITECTURES[FLOW.value]()
    given = {'process': PROCESS.value, 'law': LAW.value, 'factors': FACTORS.value, 'network_dtype': PRECISION.value}
    given = {name: value for name, value in given.items() if value is not None}
    chosen = {'process': preset.process, 'law': preset.law, 'flow': flow, **given}
    try:
        model = ModelSettings((size, size, 1), definition.num_slices, **chosen)
    except ValueError as error:
        words = ' '.join(f'--{flag.name}={flag.value}' for flag in (PROCESS, LAW, FLOW) if flag.value is not None)
        raise UserError(f'{words}: {error}') from error
    info = {
        'data_dir': None if DATA_DIR.value is None else str(pathlib.Path(DATA_DIR.value).resolve()),
        'phantom_subjects': PHANTOM_SUBJECTS.value,
        'seed': SEED.value,
        'preset': PRESET.value,
    }
    return Run(folder, definition, model, training.to_json(), info)


def _resumed_run(run):
    """Returns the run with what may change when it is resumed; other flags of the model or the training are refused."""
    own = {flag.name: flag for flag in (STEPS, MAX_MINUTES, EVALUATE_EVERY)}
    free = {*own, 'output_dir', 'resume', 'data_dir', 'cache_dir', 'devices'}
    for flag in flags.FLAGS.flags_by_module_dict()[__name__]:
        if flag.present and flag.name not in free:
            raise UserError(f'--{flag.name}: cannot change with --resume; leave it out, or start a run of its own.')
    given = {name: flag.value for name, flag in own.items() if flag.value is not None}
    return dataclasses.replace(run, training={**run.training, **given})


def _override(settings, **given):
    """Returns settings with the values of those flags that the user gave."""
    return dataclasses.replace(settings, **{name: flag.value for name, flag in given.items() if flag.value is not None})


def run():
    """Runs the command line."""
    app.run_main(main)
