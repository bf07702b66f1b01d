"""Measures training steps of a preset in a process of its own, and prints one line of JSON.

    python benchmarks/training_step.py --preset=paper --image_size=64 --batch_size=8 --set=model.flow.recompute=true

The images are random; nothing is read from disk, and the model starts from its initial weights. The JSON has
`parameters`; `cpu_seconds` and `seconds` of a step, medians; `peak_gigabytes`, the peak resident memory of the process,
and `step_gigabytes`, by how much it exceeds the peak before the first step (Linux only); and `loss`, of the last step.
"""

import math
import pathlib
import sys
import time

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import peer
from tfp_bruno.cli import app

PRESET = flags.DEFINE_string('preset', 'paper', 'Preset of the model.')
IMAGE_SIZE = flags.DEFINE_integer('image_size', 64, 'Side of the images.', lower_bound=8)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 8, 'Sequences in a step.', lower_bound=1)
SET = flags.DEFINE_multi_string('set', [], 'Settings, as for bin/train.')
STEPS = flags.DEFINE_integer('steps', 3, 'Number of steps, the first of which is not timed.', lower_bound=2)


def main():
    """Measures and prints."""
    output = peer.stdout_for_result()
    app.import_tensorflow()
    peer.report(output, _measure(), None, False)


def _measure():
    """Returns the figures as a `dict`."""
    import dataclasses

    import numpy as np

    from tfp_bruno.data import get_definition
    from tfp_bruno.settings import change
    from tfp_bruno.training.presets import make_settings, read_preset
    from tfp_bruno.training.sequences import make_sequences
    from tfp_bruno.training.trainer import Trainer

    definition = dataclasses.replace(get_definition('fetal'), image_size=IMAGE_SIZE.value)
    own = [f'batch_size={BATCH_SIZE.value}', f'steps={STEPS.value}', 'max_minutes=0.0']
    values = change(read_preset('bruno', PRESET.value), [*own, *SET.value])
    model, training = make_settings('bruno', values, definition, '`set`')
    trainer = Trainer(model, training)
    images = np.random.default_rng(0).uniform(size=(2, definition.num_slices, *[IMAGE_SIZE.value] * 2))
    sequences = make_sequences(
        images.astype(np.float32),
        training.sequence_length,
        training.batch_size,
        (1.0, 1.0, 1.0),
        dataclasses.replace(training.augmentation, probability=0.0),
        seed=0,
        common_slices=training.common_slices,
    )
    before, moments, loss = peer.peak_gigabytes(), [(time.process_time(), time.perf_counter())], math.nan
    for _, parts in trainer.train(sequences):
        loss = float(parts['loss'])
        moments.append((time.process_time(), time.perf_counter()))
    # The first step holds the tracing.
    cpu, wall = np.diff(moments, axis=0)[1:].T
    peak = peer.peak_gigabytes()
    return {
        'parameters': sum(variable.shape.num_elements() for variable in trainer.model.trainable_variables),
        'cpu_seconds': float(np.median(cpu)),
        'seconds': float(np.median(wall)),
        'peak_gigabytes': peak,
        'step_gigabytes': peak - before,
        'loss': loss,
    }


if __name__ == '__main__':
    app.run_main(main)
