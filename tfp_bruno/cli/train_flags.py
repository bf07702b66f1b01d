"""The flags of `bin/train`."""

from absl import flags

DATASET = flags.DEFINE_string('dataset', 'fetal', 'Anatomy: fetal, adni or thorax.')
DATASET_CONFIG = flags.DEFINE_string(
    'dataset_config', None, 'TOML file that defines an anatomy of your own, instead of --dataset; see docs/volumes.md.'
)
DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of NIfTI volumes, flat or BIDS; default: built-in phantoms.')
USE_MASKS = flags.DEFINE_bool(
    'use_masks',
    False,
    'Each volume of --data_dir has a mask beside it (sub-01_mask, sub-01_desc-brain_mask, case_01_mask): what is '
    'outside becomes background.',
)
ASSUME_RAS = flags.DEFINE_bool(
    'assume_ras', False, 'Take volumes and masks that have no orientation as RAS, centred at world 0.'
)
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder of the run.', required=True)
MODEL = flags.DEFINE_enum(
    'model', 'bruno', ['bruno', 'gqn', 'cvae'], 'Kind: ConditionalBruno, Generative Query Network, conditional VAE.'
)
PRESET = flags.DEFINE_enum('preset', 'cpu', ['cpu', 'gpu', 'paper'], 'Settings to start from.')
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
AUGMENTATION = flags.DEFINE_float(
    'augmentation', None, 'Share of the sequences drawn from an augmented volume.', lower_bound=0.0, upper_bound=1.0
)
JOINT = flags.DEFINE_float('joint', None, 'Weight of the joint likelihood.', lower_bound=0.0)
CONDITIONAL = flags.DEFINE_float('conditional', None, 'Weight of the conditional likelihood.', lower_bound=0.0)
STRUCTURAL = flags.DEFINE_float('structural', None, 'Weight of 1 - SSIM of the predictive mean.', lower_bound=0.0)
FOREGROUND_SHARE = flags.DEFINE_float(
    'foreground_share',
    None,
    'What the foreground counts in 1 - SSIM; whole slices count the rest.',
    lower_bound=0.0,
    upper_bound=1.0,
)
SQUARED_ERROR = flags.DEFINE_float(
    'squared_error', None, 'Weight of the squared error of the predictive mean.', lower_bound=0.0
)
PRIOR_SQUARED_ERROR = flags.DEFINE_float(
    'prior_squared_error', None, 'The same without contexts; default: as with them.', lower_bound=0.0
)
PRIOR_DECAY = flags.DEFINE_float(
    'prior_decay',
    None,
    'How fast the weight of the squared error falls with the contexts from --prior_squared_error to --squared_error.',
    lower_bound=0.0,
)
SCORED_TARGETS = flags.DEFINE_integer(
    'scored_targets', None, 'Most targets that the conditional likelihood is taken of; fewer are faster.', lower_bound=1
)
POSE_WIDTH = flags.DEFINE_float(
    'pose_width', None, 'Slices over which neighbours share the encoding of their pose, in the flow.', lower_bound=0.0
)
LOGIT_ALPHA = flags.DEFINE_float(
    'logit_alpha',
    None,
    'The flow takes the logit of images that are scaled to [alpha / 2, 1 - alpha / 2].',
    lower_bound=1e-6,
    upper_bound=0.9,
)
PROCESS = flags.DEFINE_enum(
    'process', None, ['average', 'exchangeable', 'pose', 'factor'], 'Process over the latent vectors.'
)
LAW = flags.DEFINE_enum('law', None, ['gaussian', 'student_t'], 'Law of the process.')
FLOW = flags.DEFINE_enum('flow', None, ['glow', 'real_nvp'], 'Architecture of the flow, with its own defaults.')
RECOMPUTE = flags.DEFINE_bool(
    'recompute', None, 'Whether gradients of the RealNVP flow keep less in memory, and take more time for it.'
)
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
    'Volumes that the model is started from: the training subjects, and augmented copies to make up the number.',
    lower_bound=0,
)
INFLATION = flags.DEFINE_float(
    'inflation',
    None,
    "Factor of the variance that a factor process' residual starts with: more lets contexts tell less of the factors.",
    lower_bound=1e-3,
)
CONTEXT_POWER = flags.DEFINE_float(
    'context_power', None, 'Above 1, few contexts are drawn more often in training than many.', lower_bound=1e-3
)
NARROWS_FACTORS = flags.DEFINE_bool(
    'narrows_factors',
    None,
    'Samples as the density has them, with --law=student_t; otherwise the radius narrows the residual alone.',
)
FACTOR_SCALE = flags.DEFINE_float(
    'factor_scale', None, "Factor of the factors' deviations in samples, with --process=factor.", lower_bound=1e-6
)
FACTOR_EVIDENCE = flags.DEFINE_float(
    'factor_evidence',
    None,
    'Weight of what contexts tell of the factors, in how wide samples are, with --process=factor; 1 as the density has '
    'it.',
    lower_bound=1e-6,
    upper_bound=1.0,
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
    STRUCTURAL,
    FOREGROUND_SHARE,
    SQUARED_ERROR,
    PRIOR_SQUARED_ERROR,
    PRIOR_DECAY,
    SCORED_TARGETS,
    POSE_WIDTH,
    LOGIT_ALPHA,
    RECOMPUTE,
    PROCESS,
    LAW,
    KERNEL,
    FLOW,
    PRECISION,
    INDEPENDENT_TARGETS,
    FACTORS,
    START_VOLUMES,
    INFLATION,
    CONTEXT_POWER,
    NARROWS_FACTORS,
    FACTOR_SCALE,
    FACTOR_EVIDENCE,
)
_OF_BASELINES = (AGGREGATION, MIN_CONTEXTS, MAX_CONTEXTS, PIXEL_STD)
_OF_GQN = (REPRESENTATION, GENERATION_STEPS, SHARED_CORES)
OWN_FLAGS = {'bruno': _OF_BRUNO, 'gqn': _OF_BASELINES + _OF_GQN, 'cvae': _OF_BASELINES}
OF_SOME_KINDS = _OF_BRUNO + _OF_BASELINES + _OF_GQN
