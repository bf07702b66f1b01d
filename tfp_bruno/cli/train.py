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
MODEL = flags.DEFINE_enum(
    'model', 'bruno', ['bruno', 'gqn', 'cvae'], 'Kind: ConditionalBruno, Generative Query Network, conditional VAE.'
)
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
STRUCTURAL = flags.DEFINE_float('structural', None, 'Weight of 1 - SSIM of the predictive mean.', lower_bound=0.0)
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
KERNEL = flags.DEFINE_enum(
    'kernel',
    None,
    ['exponential', 'matern_three_halves', 'squared_exponential'],
    'How the likeness of slices falls off with their distance, with --process=pose or factor.',
)
START_VOLUMES = flags.DEFINE_integer(
    'start_volumes',
    None,
    'Volumes that the model is started from: the training subjects, and bent copies of them to make up the number.',
    lower_bound=0,
)
FACTORS = flags.DEFINE_integer('factors', None, 'Factors of the subject, with --process=factor.', lower_bound=1)
REPRESENTATION = flags.DEFINE_enum(
    'representation', None, ['tower', 'pool', 'pyramid'], 'Network that encodes a context, with --model=gqn.'
)
AGGREGATION = flags.DEFINE_enum('aggregation', None, ['sum', 'mean'], 'Of encoded contexts, with --model=gqn or cvae.')
GENERATION_STEPS = flags.DEFINE_integer(
    'generation_steps', None, 'Steps of the recurrent cores, with --model=gqn.', lower_bound=1
)
SHARED_CORES = flags.DEFINE_bool('shared_cores', None, 'One core for all generation steps, with --model=gqn.')
MIN_CONTEXTS = flags.DEFINE_integer(
    'min_contexts', None, 'Least number of contexts in training, with --model=gqn or cvae.', lower_bound=0
)
MAX_CONTEXTS = flags.DEFINE_integer(
    'max_contexts', None, 'Largest number of contexts in training, with --model=gqn or cvae.', lower_bound=1
)
PIXEL_STD = flags.DEFINE_float(
    'pixel_std', None, 'Standard deviation of the pixels at the end, with --model=gqn or cvae.', lower_bound=1e-3
)

_OF_BRUNO = (
    JOINT,
    CONDITIONAL,
    PREDICTIVE,
    STRUCTURAL,
    PROCESS,
    LAW,
    KERNEL,
    FLOW,
    PRECISION,
    INDEPENDENT_TARGETS,
    FACTORS,
    START_VOLUMES,
)
_OF_BASELINES = (AGGREGATION, MIN_CONTEXTS, MAX_CONTEXTS, PIXEL_STD)
_OF_GQN = (REPRESENTATION, GENERATION_STEPS, SHARED_CORES)
_OWN_FLAGS = {'bruno': _OF_BRUNO, 'gqn': _OF_BASELINES + _OF_GQN, 'cvae': _OF_BASELINES}


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
    if not RESUME.value:
        _check_own_flags()
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
    train_run(run, population, DEVICES.value, CACHE_DIR.value or data.default_cache_dir())
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


def _check_own_flags():
    """Raises a UserError if a flag of another kind of model was given."""
    own = {flag.name for flag in _OWN_FLAGS[MODEL.value]}
    for flag in _OF_BRUNO + _OF_BASELINES + _OF_GQN:
        if flag.present and flag.name not in own:
            raise UserError(f'--{flag.name}: means nothing with --model={MODEL.value}; leave it out.')


def _new_run(folder, definition):
    from tfp_bruno.runs import Run

    model, training = _bruno(definition) if MODEL.value == 'bruno' else _baseline(definition)
    if training.batch_size % training.micro_batches:
        raise UserError(
            f'--micro_batches={training.micro_batches}: must divide --batch_size={training.batch_size}; give a divisor.'
        )
    if training.sequence_length > definition.num_slices:
        raise UserError(
            f'--sequence_length={training.sequence_length}: {definition.name} has {definition.num_slices} slices.'
        )
    info = {
        'data_dir': None if DATA_DIR.value is None else str(pathlib.Path(DATA_DIR.value).resolve()),
        'phantom_subjects': PHANTOM_SUBJECTS.value,
        'seed': SEED.value,
        'preset': PRESET.value,
    }
    return Run(folder, definition, model, training.to_json(), info)


def _bruno(definition):
    """Returns the settings of a ConditionalBruno and of its training."""
    from tfp_bruno.bijectors import ARCHITECTURES
    from tfp_bruno.models import ModelSettings
    from tfp_bruno.training.settings import PRESETS

    preset = PRESETS[PRESET.value]
    objective = _override(
        preset.training.objective,
        joint=JOINT,
        conditional=CONDITIONAL,
        predictive=PREDICTIVE,
        structural=STRUCTURAL,
        independent_targets=INDEPENDENT_TARGETS,
    )
    flow = preset.model['flow']
    if FLOW.value not in (None, flow.architecture):
        flow = ARCHITECTURES[FLOW.value]()
    given = _given(process=PROCESS, law=LAW, factors=FACTORS, kernel=KERNEL, network_dtype=PRECISION)
    chosen = {**preset.model, 'flow': flow, **given}
    size = definition.image_size
    try:
        model = ModelSettings((size, size, 1), definition.num_slices, **chosen)
    except ValueError as error:
        raise UserError(f'{_words(PROCESS, LAW, FLOW)}: {error}') from error
    return model, _training(_override(preset.training, start_volumes=START_VOLUMES), objective)


def _baseline(definition):
    """Returns the settings of a deep baseline and of its training."""
    from tfp_bruno.runs import KINDS
    from tfp_bruno.training.baseline_presets import BASELINE_PRESETS

    preset = BASELINE_PRESETS[MODEL.value][PRESET.value]
    given = _given(
        representation=REPRESENTATION, aggregation=AGGREGATION, steps=GENERATION_STEPS, shared_cores=SHARED_CORES
    )
    size = definition.image_size
    model = KINDS[MODEL.value].settings((size, size, 1), definition.num_slices, **{**preset.model, **given})
    try:
        objective = _override(
            preset.training.objective, min_contexts=MIN_CONTEXTS, max_contexts=MAX_CONTEXTS, last_std=PIXEL_STD
        )
    except ValueError as error:
        raise UserError(f'{_words(MIN_CONTEXTS, MAX_CONTEXTS)}: {error}') from error
    training = _training(preset.training, objective)
    if training.sequence_length <= objective.max_contexts:
        raise UserError(
            f'--sequence_length={training.sequence_length}: leaves no slice to predict beside '
            f'--max_contexts={objective.max_contexts}; give a longer sequence.'
        )
    return model, training


def _training(training, objective):
    """Returns the settings of the training with what the flags of all kinds say."""
    bending = _override(training.bending, probability=BENDING)
    return _override(
        dataclasses.replace(training, objective=objective, bending=bending, seed=SEED.value),
        steps=STEPS,
        max_minutes=MAX_MINUTES,
        batch_size=BATCH_SIZE,
        micro_batches=MICRO_BATCHES,
        sequence_length=SEQUENCE_LENGTH,
        learning_rate=LEARNING_RATE,
        evaluate_every=EVALUATE_EVERY,
    )


def _resumed_run(run):
    """Returns the run with what may change when it is resumed; other flags of the model or the training are refused."""
    own = {flag.name: flag for flag in (STEPS, MAX_MINUTES, EVALUATE_EVERY)}
    free = {*own, 'output_dir', 'resume', 'data_dir', 'cache_dir', 'devices'}
    for flag in flags.FLAGS.flags_by_module_dict()[__name__]:
        if flag.present and flag.name not in free:
            raise UserError(f'--{flag.name}: cannot change with --resume; leave it out, or start a run of its own.')
    given = {name: flag.value for name, flag in own.items() if flag.value is not None}
    return dataclasses.replace(run, training={**run.training, **given})


def _override(settings, **flags_by_name):
    """Returns settings with the values of those flags that the user gave."""
    return dataclasses.replace(settings, **_given(**flags_by_name))


def _given(**flags_by_name):
    """Returns the values of those flags that the user gave."""
    return {name: flag.value for name, flag in flags_by_name.items() if flag.value is not None}


def _words(*given):
    """Returns flags as the user gave them."""
    return ' '.join(f'--{flag.name}={flag.value}' for flag in given if flag.value is not None)


def run():
    """Runs the command line."""
    app.run_main(main)
