"""Loads trained models, from the folder of a run or from an exported file."""

import dataclasses
import os
import pathlib

import tensorflow as tf

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.errors import UserError
from tfp_bruno.registration import MapFinder
from tfp_bruno.runs.kinds import KINDS, build
from tfp_bruno.runs.loadings import assign_loadings, other_variables, read_loadings
from tfp_bruno.runs.model_file import RestoredRun, unpack_model
from tfp_bruno.runs.run_folder import read_run
from tfp_bruno.runs.weights import fingerprint


def load(run_dir: str | os.PathLike) -> CompletionModel:
    """Loads a trained model.

    Args:
        run_dir: The folder of a run, or a file that `export_model` wrote.

    Returns:
        A `TrainedModel`, or a `TrainedBaseline` if the run is of a deep baseline.

    Raises:
        UserError: If there is no such run or model, its weights do not fit its settings, or what finds the maps of
            subjects cannot be read.
    """
    run, model, finder = unpack_model(run_dir) if pathlib.Path(run_dir).is_file() else restore_run(run_dir)
    return KINDS[run.kind].wrap(model, run.model, run.training.objective, run.definition, run.info, finder)


def restore_run(folder: str | os.PathLike) -> RestoredRun:
    """Reads a run with its model from its folder; errors as `load`."""
    run = read_run(folder)
    weights = run.weights
    model = build(run.model, run.training.sequence_length, run.training.seed)
    has_file = run.loadings.exists()
    variables = other_variables(model) if has_file else list(model.variables)
    try:
        tf.train.Checkpoint(variables=variables).read(str(weights)).assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(f'{weights}: cannot be restored ({reason}); resume the training, or start it again.') from error
    if has_file:
        assign_loadings(model, read_loadings(run.loadings), run.loadings)
    # Of the weights that were read: a training may have written others since.
    info = dataclasses.replace(run.info, weights=fingerprint(weights, run.loadings))
    finder = MapFinder.load(run.registration) if run.has_places else None
    return RestoredRun(dataclasses.replace(run, info=info), model, finder)
