"""From the folder of a run to the trained model that it holds."""

import tensorflow as tf

from tfp_bruno.errors import UserError
from tfp_bruno.runs.kinds import build
from tfp_bruno.runs.run_folder import read_run
from tfp_bruno.runs.trained_baseline import TrainedBaseline
from tfp_bruno.runs.trained_model import TrainedModel

__all__ = ['load', 'restore_weights']


def load(run_dir):
    """Loads a trained model.

    Args:
        run_dir: Path of the `--output_dir` of `bin/train`.

    Returns:
        A `TrainedModel`, or a `TrainedBaseline` if the run is one of a deep baseline.

    Raises:
        UserError: if the folder is not one of a run, or holds no weights that fit.
    """
    run = read_run(run_dir)
    model = build(run.model, run.training['sequence_length'], run.training['seed'])
    restore_weights(model, run)
    if run.kind == 'bruno':
        name = f'bruno ({run.info["preset"]}: {run.model.process}, {run.model.law})'
        return TrainedModel(model, run.definition, name, run.info, run.model.sampling)
    name = f'{run.kind} ({run.info["preset"]})'
    return TrainedBaseline(model, run.definition, name, run.info, run.training['objective']['last_std'])


def restore_weights(model, run):
    """Restores the averaged weights of a run into a model of its settings."""
    try:
        checkpoint = tf.train.Checkpoint(variables=list(model.variables))
        checkpoint.read(str(run.weights)).assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(
            f'{run.weights}: cannot be restored ({reason}); train the run again, or --resume it.'
        ) from error
