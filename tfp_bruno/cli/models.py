"""Loads the trained model of a command that draws samples, with the flag of their temperature."""

import pathlib

from absl import flags

from tfp_bruno.cli import app
from tfp_bruno.contracts import CompletionModel

__all__ = ['TEMPERATURE', 'load_model']

TEMPERATURE = flags.DEFINE_float(
    'temperature', 1.0, "Factor of the samples' deviations from the mean, in latent space.", lower_bound=0.0
)


def load_model(run_dir: str | pathlib.Path) -> CompletionModel:
    """Imports TensorFlow and loads a run, with the temperature of the flag.

    TensorFlow takes seconds to import: whatever may fail without it, check before.

    Args:
        run_dir: folder of the trained model.

    Returns:
        The trained model.

    Raises:
        UserError: if the run cannot be loaded, or its model has no temperature and another than 1 is asked for.
    """
    app.import_tensorflow()
    from tfp_bruno.runs import load

    return load(run_dir).with_temperature(TEMPERATURE.value)
