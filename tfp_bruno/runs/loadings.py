"""The loadings of a factor process, which the start of a training determines for good: a file of their own."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.errors import UserError
from tfp_bruno.models import VolumeLoadings
from tfp_bruno.runs.quantized_loadings import dequantize, quantize
from tfp_bruno.runs.tensor_file import TensorFile, read_digest, read_tensors, write_tensors

_KIND = 'loadings of a factor process'


def other_variables(model: Any) -> list[tf.Variable]:
    """Returns the variables of a model of any kind, without the loadings of a factor process."""
    loadings = _variable(model)
    return [variable for variable in model.variables if variable is not loadings]


def quantized_loadings(model: Any) -> dict[str, np.ndarray]:
    """Returns the loadings of a model as arrays, see `quantize`; empty if its process has none.

    Raises:
        ValueError: If they are not finite.
    """
    variable = _variable(model)
    if variable is None:
        return {}
    values = tf.convert_to_tensor(variable).numpy()
    process = model.distribution
    variance = tf.convert_to_tensor(process.residual_variance).numpy()
    if isinstance(process.loadings, VolumeLoadings) and process.loadings.frequencies:
        # An error of a voxel is one of all frequencies; their precision is what the factors are found by.
        variance = np.full_like(variance, 1.0 / np.mean(1.0 / variance))
    return quantize(values.reshape(len(values), -1, values.shape[-1]), variance)


def assign_loadings(model: Any, arrays: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
    """Sets the loadings of a model to those of arrays that `quantized_loadings` returned; it must have some.

    Args:
        model: The model.
        arrays: The arrays.
        path: The file they are from, for messages.

    Raises:
        UserError: If they do not fit.
    """
    variable: Any = _variable(model)
    try:
        planes, *inner, factors = variable.shape
        variable.assign(dequantize(arrays, (planes, math.prod(inner), factors)).reshape(variable.shape))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: its loadings do not fit the model ({error!s:.100}); train the run again.') from error


def round_loadings(model: Any, path: pathlib.Path) -> None:
    """Writes the loadings of a model to a file and rounds them to what the file holds; nothing if it has none.

    Args:
        model: The model.
        path: The file, see `Run.loadings`.

    Raises:
        UserError: If the loadings are not finite, or the file cannot be written.
    """
    try:
        arrays = quantized_loadings(model)
    except ValueError as error:
        raise UserError(f'{path}: the closed-form start of the training is not finite; check the volumes.') from error
    if arrays:
        write_tensors(path, TensorFile(_KIND, arrays))
        assign_loadings(model, arrays, path)


def read_loadings(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file that `round_loadings` wrote.

    Raises:
        UserError: If the file cannot be read.
    """
    return dict(read_tensors(path, _KIND).arrays)


def loadings_digest(path: pathlib.Path) -> str:
    """Returns the digest of a file that `round_loadings` wrote; errors as `read_loadings`."""
    return read_digest(path, _KIND)


def _variable(model: Any) -> tf.Variable | None:
    """Returns the variable of the loadings of a model; None if its process has none."""
    process = getattr(model, 'distribution', None)
    if not isinstance(process, FactorProcess):
        return None
    return process.loadings.volume if isinstance(process.loadings, VolumeLoadings) else process.loadings
