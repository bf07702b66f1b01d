"""Where the contexts of a subject lie in the model's canonical volume, for sidecar and report."""

import dataclasses
from typing import Any

import numpy as np

from tfp_bruno.contracts import CompletionModel, LocatingModel
from tfp_bruno.errors import collect_warnings
from tfp_bruno.reconstruction.contexts import Contexts
from tfp_bruno.registration import Location

_DIRECTIONS = {'L': 'left', 'R': 'right', 'P': 'posterior', 'A': 'anterior', 'I': 'inferior', 'S': 'superior'}


def alignment_of(model: CompletionModel) -> str | None:
    """Returns what of a subject's map a model finds; `None` if it has no canonical volume."""
    return model.alignment if isinstance(model, LocatingModel) else None


def locate(model: CompletionModel, contexts: Contexts) -> tuple[Contexts, Location | None]:
    """Finds where contexts lie.

    Args:
        model: A trained model.
        contexts: The context slices.

    Returns:
        The contexts with the warnings of the search, and their location; `None` without contexts, and of a model that
        has no canonical volume.
    """
    if not contexts.positions or not isinstance(model, LocatingModel):
        return contexts, None
    with collect_warnings() as warnings:
        location = model.locate(contexts.images, np.array(contexts.positions, np.int64))
    return dataclasses.replace(contexts, warnings=[*contexts.warnings, *warnings]), location


def describe_location(location: Location, axes: str) -> dict[str, Any]:
    """Returns the numbers of a location as the report shows them.

    Args:
        location: The location.
        axes: Directions in which columns, rows and slices grow, such as 'LPS'.
    """
    sizes = _with_stds(location.size_percent, location.size_std)
    shifts = _with_stds(location.shift_mm, location.shift_std)
    rows = zip(direction_names(axes), sizes, shifts, strict=True)
    return {
        'error': location.error,
        'has_displacement': location.alignment != 'none',
        'rms_displacement': location.rms_displacement,
        'largest_displacement': location.largest_displacement,
        'rows': [{'direction': name, 'size': size, 'shift': shift} for name, size, shift in rows],
    }


def direction_names(axes: str) -> list[str]:
    """Returns the directions in which slices, rows and columns grow, in words, of axes such as 'LPS'."""
    return [_DIRECTIONS[axis] for axis in axes[::-1]]


def _with_stds(values: np.ndarray, stds: np.ndarray | None) -> list[str]:
    """Returns numbers and, if they are known, standard deviations as text."""
    if stds is None:
        return [f'{value:.1f}' for value in values]
    return [f'{value:.1f} \N{PLUS-MINUS SIGN} {std:.1f}' for value, std in zip(values, stds, strict=True)]
