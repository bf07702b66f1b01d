"""The variance of a residual, fitted to subjects that were not trained on."""

import contextlib
import json
import math
from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import logging
from scipy import optimize

from tfp_bruno.data.atomic import write_text
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.runs import Run
from tfp_bruno.runs.weights import fingerprint, write_weights

# Logarithms of the largest and least scale, the precision of the result, and the number of steps to it.
_REACH, _PRECISION, _MOST_STEPS = 1.0, 0.05, 6


def fit_residual_scale(process: FactorProcess, loss: Callable[[], float]) -> float:
    """Scales the residual's variance of a process so that a loss of it is least.

    A training explains the subjects that it sees better than others, so it makes the residual too small, or a guess at
    its start makes it too large. One number is safe to fit to few subjects.

    Args:
        process: The process, whose variance is changed.
        loss: Returns the loss of the process as it is.

    Returns:
        The scale, between exp(-1) and exp(1).
    """
    variance = tf.convert_to_tensor(process.residual_variance)

    def loss_at(log_scale: float) -> float:
        process.residual_variance.assign(variance * math.exp(log_scale))
        return loss()

    found = optimize.minimize_scalar(
        loss_at, bounds=(-_REACH, _REACH), method='bounded', options={'xatol': _PRECISION, 'maxiter': _MOST_STEPS}
    )
    scale = math.exp(float(found.x))
    process.residual_variance.assign(variance * scale)
    return scale


def scale_residual(
    run: Run, process: FactorProcess, variables: Sequence[tf.Variable], loss: Callable[[], float]
) -> None:
    """Fits the residual's variance of the weights that a run hands on; without effect on weights that it was fitted to.

    Args:
        run: The run; its weights, and `residual_scale.json`, are written.
        process: The process of the model.
        variables: The variables of the model that are saved; they take the values of the weights.
        loss: Returns the loss of the process on subjects that were not trained on.
    """
    # A file that is missing or damaged: they were not fitted.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads(run.residual_scale.read_text(encoding='utf-8')).get('weights') == fingerprint(run.weights):
            return
    tf.train.Checkpoint(variables=list(variables)).read(str(run.weights)).assert_consumed()
    scale = fit_residual_scale(process, loss)
    logging.info('The variance of the residual is %.2f times that of the training, by the held-out subjects.', scale)
    write_weights(run.folder / 'weights', variables)
    write_text(run.residual_scale, json.dumps({'scale': scale, 'weights': fingerprint(run.weights)}) + '\n')
