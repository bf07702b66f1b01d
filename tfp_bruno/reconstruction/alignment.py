"""What a run knows of the world that its training volumes lie in, and where that leads wrong."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfp_bruno.data import DatasetDefinition, TrainingFrame, Volume, stack_affine
from tfp_bruno.errors import UserError, warn

# Share by which the slice thickness may differ from that of the training data without a word.
THICKNESS_TOLERANCE = 0.25


def training_frame(info: Mapping[str, Any]) -> TrainingFrame | None:
    """Returns what the training volumes have in common; None, with a warning, if the run is too old to record it."""
    frame = _frame(info)
    if frame is None or frame.boxes is None:
        warn(
            'run.json: does not record where the anatomy lies in the training volumes, so that of the scan is not '
            'checked; train again to have it checked.'
        )
        return None
    return frame


def reference_affine(info: Mapping[str, Any], definition: DatasetDefinition, reference: Volume | None) -> np.ndarray:
    """Returns the stack's affine in the world of single slices.

    Args:
        info: what the model was trained on; its 'frame' is a `TrainingFrame` as `to_json` describes it.
        definition: the dataset of the model.
        reference: a volume in the world of the slices, centred on the anatomy; None for the frame of the training data.

    Returns:
        float64 `[4, 4]`, (w, h, k, 1) to world mm.

    Raises:
        UserError: if the anatomy of the reference cannot be placed, or there is no reference and the training volumes
            do not lie in one world.
    """
    if reference is not None:
        return stack_affine(reference, definition, frame=training_frame(info))
    frame = _frame(info)
    if frame is None or not frame.is_shared:
        raise UserError(
            '--reference: is missing: the training volumes of this run share no world, so that affines alone do not '
            'tell positions; give a volume in the world of the slices, such as a low-resolution stack.'
        )
    return frame.affine


def warn_of_thickness(frame: TrainingFrame | None, thickness: float, path: str | os.PathLike) -> None:
    """Warns if slices are thicker or thinner than those of the training data by more than a quarter.

    Args:
        frame: what the training volumes have in common; None for no check.
        thickness: of the slices, mm.
        path: where they come from.
    """
    if frame is not None and abs(thickness / frame.slice_thickness - 1) > THICKNESS_TOLERANCE:
        warn(
            f'{path}: slices are {thickness:.3g} mm thick, those of the training data {frame.slice_thickness:.3g} mm; '
            'the completion may be worse for it.'
        )


def _frame(info: Mapping[str, Any]) -> TrainingFrame | None:
    """Returns the frame of the training data; None if the run is older than that."""
    if not info.get('frame'):
        return None
    try:
        return TrainingFrame.from_json(info['frame'])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'run.json: its frame is damaged ({error!r:.80}); give --reference, or train again.') from error
