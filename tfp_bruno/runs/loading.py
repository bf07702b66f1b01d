"""From the folder of a run to the trained model that it holds."""

import os
from typing import Any

import tensorflow as tf

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.errors import UserError
from tfp_bruno.runs.kinds import KINDS, build
from tfp_bruno.runs.run_folder import Run, read_run

__all__ = ['load', 'restore_weights']


def load(run_dir: str | os.PathLike) -> CompletionModel:
    """Loads a trained model.

    Args:
        run_dir: The folder that `bin/train` wrote.

    Returns:
        A `TrainedModel`, or a `TrainedBaseline` if the run is one of a deep baseline.

    Raises:
        UserError: If the folder is not one of a run, or its weights do not fit its settings.
    """
    run = read_run(run_dir)
    model = build(run.model, run.training.sequence_length, run.training.seed)
    restore_weights(model, run)
    return KINDS[run.kind].wrap(model, run.model, run.training.objective, run.definition, run.info)


def restore_weights(model: Any, run: Run) -> None:
    """Restores the averaged weights of a run into a model of its settings."""
    try:
        checkpoint = tf.train.Checkpoint(variables=list(model.variables))
        checkpoint.read(str(run.weights)).assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(
            f'{run.weights}: cannot be restored ({reason}); train the run again, or continue it by bin/train --resume.'
        ) from error
