"""Writes the trained model of a run to one file, to hand on."""

import json
import os
import pathlib

from tfp_bruno.data import read_split
from tfp_bruno.errors import UserError
from tfp_bruno.runs.loading import restore_run
from tfp_bruno.runs.model_card import format_card
from tfp_bruno.runs.model_file import pack_model
from tfp_bruno.runs.run_folder import Run
from tfp_bruno.runs.tensor_file import write_tensors


def export_model(
    run_dir: str | os.PathLike,
    path: str | os.PathLike,
    scores: str | None = None,
    data_licence: str | None = None,
) -> None:
    """Writes the model of a run to one file, atomically; `load` takes it like the folder of the run.

    Args:
        run_dir: The folder of the run.
        path: The file; one that is there is replaced.
        scores: Scores for the model card, Markdown; None if the model was not evaluated.
        data_licence: Licence of the training data, for the model card; None if unknown.

    Raises:
        UserError: If the run cannot be read, or the file cannot be written.
    """
    restored = restore_run(run_dir)
    splits = read_split(restored.run.split_file)
    card = format_card(restored.run, splits, _read_curve(restored.run), scores, data_licence)
    write_tensors(path, pack_model(restored, splits, card))


def _read_curve(run: Run) -> list[dict[str, float]]:
    """Returns the points of the learning curve; none if there is no curve."""
    path: pathlib.Path = run.learning_curve
    try:
        return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()] if path.exists() else []
    except (OSError, ValueError) as error:
        raise UserError(f'{path}: is damaged ({error!s:.100}); remove it, or restore it from a copy.') from error
