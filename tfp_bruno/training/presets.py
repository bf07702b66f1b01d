"""Presets: the settings of a model and its training, as TOML files."""

import importlib.resources
import pathlib
from collections.abc import Mapping
from typing import Any

from tfp_bruno.data import DatasetDefinition
from tfp_bruno.errors import UserError
from tfp_bruno.models import DisplacedPoses, ModelSettings
from tfp_bruno.runs import KINDS, TrainingSettings
from tfp_bruno.settings import read_toml, structure

# Architectures of poses that are places in a canonical volume.
_PLACES = ('affine', 'displaced')
_FOLDER = pathlib.Path(str(importlib.resources.files('tfp_bruno.training'))) / 'presets'


def preset_names(kind: str) -> list[str]:
    """Returns the names of the presets that come with the package for a kind of model."""
    return sorted(path.stem for path in (_FOLDER / kind).glob('*.toml'))


def read_preset(kind: str, preset: str) -> dict[str, Any]:
    """Reads a preset.

    Args:
        kind: Kind of the model, see `tfp_bruno.runs.KINDS`.
        preset: Name of a preset of the package, or path of a TOML file with the attributes of `TrainingSettings` and a
            table `model` with the settings of the model; the text "none" is None. With a line `base = "cpu"` the file
            changes that preset.

    Returns:
        The settings in the preset, nested; see `make_settings`.

    Raises:
        UserError: If there is no such preset, or the file cannot be read.
    """
    names = preset_names(kind)
    if preset not in names and not preset.endswith('.toml'):
        raise UserError(f'`preset={preset}`: is not a preset of {kind}; give {", ".join(names)}, or a TOML file.')
    values = _with_none(read_toml(_FOLDER / kind / f'{preset}.toml' if preset in names else preset))
    base = values.pop('base', None)
    if base is None:
        return values
    if base not in names:
        raise UserError(f'{preset}: base = {base!r} is not a preset of {kind}; give one of {", ".join(names)}.')
    return _merge(read_preset(kind, base), values)


def make_settings(
    kind: str, values: Mapping[str, Any], definition: DatasetDefinition, place: str
) -> tuple[Any, TrainingSettings]:
    """Makes the settings of a run.

    Args:
        kind: Kind of the model, see `tfp_bruno.runs.KINDS`.
        values: Attributes of `TrainingSettings`, and a dict `model` with the settings of the model except its sizes,
            which follow from the dataset; so does `pose.pixel_size` if it is not given.
        definition: The dataset.
        place: File or argument that the values come from, for errors.

    Returns:
        model: The settings of the model.
        training: The settings of its training.

    Raises:
        UserError: If a setting is unknown, of another type or out of range, or settings do not fit each other.
    """
    sizes = {
        'image_shape': [definition.image_size, definition.image_size, 1],
        'num_slices': definition.num_slices,
    }
    own = values.get('model', {})
    for name in sizes:
        if name in own:
            raise UserError(f'{place}: model.{name} follows from the dataset; change the definition of the dataset.')
    rest = {name: value for name, value in values.items() if name != 'model'}
    if isinstance(own.get('pose'), Mapping) and own['pose'].get('architecture') in _PLACES:
        own = {**own, 'pose': {'pixel_size': definition.pixel_spacing / definition.slice_spacing, **own['pose']}}
    model: Any = structure(KINDS[kind].settings, {**sizes, **own}, place, 'model')
    training = structure(KINDS[kind].training, {'objective': {}, **rest}, place)
    if training.sequence_length > definition.num_slices:
        raise UserError(
            f'{place}: sequence_length = {training.sequence_length}: {definition.name} has {definition.num_slices} '
            'slices; give fewer.'
        )
    if training.fits_residual and getattr(model, 'process', None) != 'factor':
        raise UserError(f'{place}: fits_residual: only a factor process has a residual; give false.')
    if getattr(model, 'grid', None) is not None:
        _check_places(model, training, place)
    elif training.poses == 'rigid':
        raise UserError(
            f'{place}: poses = rigid: without places in a canonical volume, only planes of the stack have a pose; give '
            'stack, or preset=map.'
        )
    return model, training


def _check_places(model: ModelSettings, training: TrainingSettings, place: str) -> None:
    """Raises a `UserError` for settings that a training with places in a canonical volume would ignore."""
    if not isinstance(model.pose, DisplacedPoses):
        raise UserError(
            f'{place}: model.pose.architecture = {model.pose.architecture}: training finds displaced places; give '
            'displaced, or one_hot.'
        )
    if training.common_slices:
        raise UserError(f'{place}: common_slices: the places of slices differ between subjects; give false.')
    if training.augmentation.probability > 0 or training.start_volumes:
        raise UserError(
            f'{place}: registered subjects are not augmented; give augmentation.probability = 0 and start_volumes = 0.'
        )


def _merge(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested values, overridden by the values of another tree."""
    merged = dict(base)
    for name, value in values.items():
        is_table = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if is_table else value
    return merged


def _with_none(values: Any) -> Any:
    """Returns nested values with None for the text 'none': TOML has no null."""
    if isinstance(values, dict):
        return {name: _with_none(value) for name, value in values.items()}
    return None if values == 'none' else values
