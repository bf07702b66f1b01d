"""A trained model in one file, to hand on: weights, settings, split, learning curve and model card, without code."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfp_bruno.errors import UserError
from tfp_bruno.registration import MapFinder
from tfp_bruno.runs.kinds import build
from tfp_bruno.runs.loadings import assign_loadings, other_variables, quantized_loadings, read_loadings
from tfp_bruno.runs.run_folder import Run, parse_run
from tfp_bruno.runs.tensor_file import TensorFile, read_tensors, read_texts

_KIND = 'trained model'
_SETTINGS, _SPLIT, _CURVE, _CARD = 'run.json', 'split.json', 'learning_curve.jsonl', 'model_card.md'
# First parts of the names of arrays.
_WEIGHTS, _LOADINGS, _REGISTRATION = 'weights.', 'loadings.', 'registration.'


class RestoredRun(NamedTuple):
    """A run with its trained model.

    Attributes:
        run: The run.
        model: The model with the weights of the run.
        finder: Finds the maps of subjects, for a model of a canonical volume, else None.
    """

    run: Run
    model: Any
    finder: MapFinder | None


def pack_model(restored: RestoredRun, splits: Mapping[str, str], card: str) -> TensorFile:
    """Returns the content of the file of a model.

    The weights keep their precision. Loadings are rounded, see `quantize`; those of a run that rounded them when it
    began are the same.

    Args:
        restored: The run, read from its folder.
        splits: Split of its subjects by name.
        card: The model card, Markdown.
    """
    run, model, finder = restored
    loadings = read_loadings(run.loadings) if run.loadings.exists() else quantized_loadings(model)
    arrays = {
        **{_weight(number): variable.numpy() for number, variable in enumerate(other_variables(model))},
        **{_LOADINGS + name: values for name, values in loadings.items()},
        **({} if finder is None else _named(finder.to_arrays(with_misfits=True))),
    }
    curve = run.learning_curve.read_text(encoding='utf-8') if run.learning_curve.exists() else ''
    texts = {
        _SETTINGS: run.settings_file.read_text(encoding='utf-8'),
        _SPLIT: json.dumps(dict(splits)),
        _CURVE: curve,
        _CARD: card,
    }
    return TensorFile(_KIND, arrays, texts)


def unpack_model(path: str | os.PathLike) -> RestoredRun:
    """Reads a file that `pack_model` made the content of.

    Raises:
        UserError: If the file cannot be read, or its parts do not fit together.
    """
    path = pathlib.Path(path)
    content = read_tensors(path, _KIND)
    try:
        splits, settings = json.loads(content.texts[_SPLIT]), content.texts[_SETTINGS]
    except (KeyError, ValueError) as error:
        raise _unfit(path, error) from error
    run = parse_run(settings, path, str(path), split_file=str(path), split=splits, weights=content.digest)
    model = build(run.model, run.training.sequence_length, run.training.seed)
    variables, loadings = other_variables(model), _part(content, _LOADINGS)
    try:
        _assign(variables, content.arrays)
        finder = MapFinder.from_arrays(_part(content, _REGISTRATION)) if run.has_places else None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _unfit(path, error) from error
    if len(variables) < len(model.variables):
        assign_loadings(model, loadings, path)
    return RestoredRun(run, model, finder)


def read_card(path: str | os.PathLike) -> str:
    """Returns the model card of a file that `pack_model` made the content of; errors as `unpack_model`."""
    try:
        return read_texts(path, _KIND)[_CARD]
    except KeyError as error:
        raise _unfit(pathlib.Path(path), error) from error


def _assign(variables: list[tf.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Sets all variables, once all are known to fit."""
    values = [arrays[_weight(number)] for number in range(len(variables))]
    if sum(name.startswith(_WEIGHTS) for name in arrays) != len(variables):
        raise ValueError('it has more weights than the model')
    for variable, value in zip(variables, values, strict=True):
        if variable.shape != value.shape:
            raise ValueError(f'{variable.name} has shape {tuple(variable.shape)}, not {value.shape}')
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _weight(number: int) -> str:
    return f'{_WEIGHTS}{number}'


def _named(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {_REGISTRATION + name: np.asarray(values) for name, values in arrays.items()}


def _part(content: TensorFile, start: str) -> dict[str, np.ndarray]:
    """Returns the arrays whose names have a first part, by the rest of their names."""
    return {name.removeprefix(start): values for name, values in content.arrays.items() if name.startswith(start)}


def _unfit(path: pathlib.Path, error: Exception) -> UserError:
    return UserError(f'{path}: its parts do not fit together ({error!s:.100}); export the run again.')
