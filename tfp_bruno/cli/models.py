"""Loads the trained model of a command that draws samples."""

import math
import pathlib

from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

__all__ = ['load_model']


def load_model(run_dir: str | pathlib.Path, temperature: float):
    """Imports TensorFlow and loads a run.

    TensorFlow takes seconds to import: whatever may fail without it, check before.

    Args:
        run_dir: folder of the trained model.
        temperature: factor of the samples' deviations from the mean, in latent space; 1 leaves them as they are.

    Returns:
        What `tfp_bruno.runs.load` returns, with that temperature.

    Raises:
        UserError: if the run cannot be loaded, the temperature is not finite, or it is not 1 and the model has none.
    """
    if not math.isfinite(temperature):
        raise UserError(f'--temperature={temperature}: give a finite number; 1 leaves samples as they are.')
    app.import_tensorflow()
    from tfp_bruno.runs import load

    model = load(run_dir)
    if temperature == 1.0:
        return model
    if not hasattr(model, 'with_temperature'):
        raise UserError(f'--temperature={temperature}: {model.name} has none; leave it out.')
    return model.with_temperature(temperature)
