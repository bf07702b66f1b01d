"""From the flags of `bin/train` to the settings of a run."""

import dataclasses
import pathlib

from absl import flags

from tfp_bruno.cli import train_flags as given
from tfp_bruno.errors import UserError

__all__ = ['check_own_flags', 'new_run', 'resumed_run']


def check_own_flags():
    """Raises a UserError if a flag of another kind of model was given."""
    own = {flag.name for flag in given.OWN_FLAGS[given.MODEL.value]}
    for flag in given.OF_SOME_KINDS:
        if flag.present and flag.name not in own:
            raise UserError(f'--{flag.name}: means nothing with --model={given.MODEL.value}; leave it out.')


def new_run(folder, definition):
    """Returns the `tfp_bruno.runs.Run` in a folder that the flags ask for.

    Args:
        folder: Path of the run.
        definition: The `DatasetDefinition`.

    Raises:
        UserError: if flags do not go together.
    """
    from tfp_bruno.runs import Run

    model, training = _bruno(definition) if given.MODEL.value == 'bruno' else _baseline(definition)
    if training.batch_size % training.micro_batches:
        raise UserError(
            f'--micro_batches={training.micro_batches}: must divide --batch_size={training.batch_size}; give a divisor.'
        )
    if training.sequence_length > definition.num_slices:
        raise UserError(
            f'--sequence_length={training.sequence_length}: {definition.name} has {definition.num_slices} slices.'
        )
    info = {
        'data_dir': None if given.DATA_DIR.value is None else str(pathlib.Path(given.DATA_DIR.value).resolve()),
        'phantom_subjects': given.PHANTOM_SUBJECTS.value,
        'seed': given.SEED.value,
        'preset': given.PRESET.value,
        'use_masks': given.USE_MASKS.value,
        'assume_ras': given.ASSUME_RAS.value,
    }
    return Run(folder, definition, model, training.to_json(), info)


def resumed_run(run):
    """Returns the run with what may change when it is resumed; other flags of the model or the training are refused."""
    own = {flag.name: flag for flag in (given.STEPS, given.MAX_MINUTES, given.EVALUATE_EVERY)}
    free = {*own, 'output_dir', 'resume', 'data_dir', 'cache_dir', 'devices'}
    for flag in flags.FLAGS.flags_by_module_dict()[given.__name__]:
        if flag.present and flag.name not in free:
            raise UserError(f'--{flag.name}: cannot change with --resume; leave it out, or start a run of its own.')
    chosen = {name: flag.value for name, flag in own.items() if flag.value is not None}
    return dataclasses.replace(run, training={**run.training, **chosen})


def _bruno(definition):
    """Returns the settings of a ConditionalBruno and of its training."""
    from tfp_bruno.bijectors import ARCHITECTURES
    from tfp_bruno.models import ModelSettings
    from tfp_bruno.training.settings import PRESETS

    preset = PRESETS[given.PRESET.value]
    objective = _override(
        preset.training.objective,
        joint=given.JOINT,
        conditional=given.CONDITIONAL,
        structural=given.STRUCTURAL,
        foreground_share=given.FOREGROUND_SHARE,
        squared_error=given.SQUARED_ERROR,
        prior_squared_error=given.PRIOR_SQUARED_ERROR,
        prior_decay=given.PRIOR_DECAY,
        scored_targets=given.SCORED_TARGETS,
        independent_targets=given.INDEPENDENT_TARGETS,
        context_power=given.CONTEXT_POWER,
    )
    flow = preset.model['flow']
    if given.FLOW.value not in (None, flow.architecture):
        flow = ARCHITECTURES[given.FLOW.value]()
    for flag in (given.POSE_WIDTH, given.RECOMPUTE):
        if flag.value is not None and not hasattr(flow, flag.name):
            raise UserError(f'{_words(flag)}: the {flow.architecture} flow has none; leave it out.')
    flow = _override(flow, pose_width=given.POSE_WIDTH, recompute=given.RECOMPUTE, alpha=given.LOGIT_ALPHA)
    chosen = _values(
        process=given.PROCESS,
        law=given.LAW,
        factors=given.FACTORS,
        kernel=given.KERNEL,
        network_dtype=given.PRECISION,
        narrows_factors=given.NARROWS_FACTORS,
        factor_scale=given.FACTOR_SCALE,
        factor_evidence=given.FACTOR_EVIDENCE,
    )
    chosen = {**preset.model, 'flow': flow, **chosen}
    size = definition.image_size
    try:
        model = ModelSettings((size, size, 1), definition.num_slices, **chosen)
    except ValueError as error:
        raise UserError(f'{_words(given.PROCESS, given.LAW, given.FLOW)}: {error}') from error
    start = _override(preset.training.start, inflation=given.INFLATION)
    training = _override(dataclasses.replace(preset.training, start=start), start_volumes=given.START_VOLUMES)
    return model, _training(training, objective)


def _baseline(definition):
    """Returns the settings of a deep baseline and of its training."""
    from tfp_bruno.runs import KINDS
    from tfp_bruno.training.baseline_presets import BASELINE_PRESETS

    presets = BASELINE_PRESETS[given.MODEL.value]
    if given.PRESET.value not in presets:
        raise UserError(
            f'{_words(given.PRESET)}: there is none for --model={given.MODEL.value}; choose {" or ".join(presets)}.'
        )
    preset = presets[given.PRESET.value]
    chosen = _values(
        representation=given.REPRESENTATION,
        aggregation=given.AGGREGATION,
        steps=given.GENERATION_STEPS,
        shared_cores=given.SHARED_CORES,
    )
    size = definition.image_size
    model = KINDS[given.MODEL.value].settings((size, size, 1), definition.num_slices, **{**preset.model, **chosen})
    try:
        objective = _override(
            preset.training.objective,
            min_contexts=given.MIN_CONTEXTS,
            max_contexts=given.MAX_CONTEXTS,
            last_std=given.PIXEL_STD,
        )
    except ValueError as error:
        raise UserError(f'{_words(given.MIN_CONTEXTS, given.MAX_CONTEXTS)}: {error}') from error
    training = _training(preset.training, objective)
    if training.sequence_length <= objective.max_contexts:
        raise UserError(
            f'--sequence_length={training.sequence_length}: leaves no slice to predict beside '
            f'--max_contexts={objective.max_contexts}; give a longer sequence.'
        )
    return model, training


def _training(training, objective):
    """Returns the settings of the training with what the flags of all kinds say."""
    augmentation = _override(training.augmentation, probability=given.AUGMENTATION)
    return _override(
        dataclasses.replace(training, objective=objective, augmentation=augmentation, seed=given.SEED.value),
        steps=given.STEPS,
        max_minutes=given.MAX_MINUTES,
        batch_size=given.BATCH_SIZE,
        micro_batches=given.MICRO_BATCHES,
        sequence_length=given.SEQUENCE_LENGTH,
        learning_rate=given.LEARNING_RATE,
        evaluate_every=given.EVALUATE_EVERY,
    )


def _override(settings, **flags_by_name):
    """Returns settings with the values of those flags that the user gave."""
    return dataclasses.replace(settings, **_values(**flags_by_name))


def _values(**flags_by_name):
    """Returns the values of those flags that the user gave."""
    return {name: flag.value for name, flag in flags_by_name.items() if flag.value is not None}


def _words(*chosen):
    """Returns flags as the user gave them."""
    return ' '.join(f'--{flag.name}={flag.value}' for flag in chosen if flag.value is not None)
