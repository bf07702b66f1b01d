"""Trains the RealNVP flow and Glow alike, and compares held-out bits per dimension and round trips.

    python benchmarks/flow_quality.py --data_dir=POP --steps=120 --output=docs/design_notes.md

Both get the same images of 32 x 32, the same exchangeable Gaussian process, the same joint likelihood, the same margin
of the logit and the same steps of 36 images; the Glow once more as many steps as fit into the RealNVP's
time. Round trips are the largest errors, in image units, from image to latent and back: of real test images, and of
images that are decoded from latents up to 4 standard deviations out in every dimension.
"""

import dataclasses
import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno import data
from tfp_bruno.cli import app
from tfp_bruno.cli.loading import load_volumes
from tfp_bruno.contracts import RunInfo

DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of volumes; default: built-in phantoms.')
CACHE_DIR = flags.DEFINE_string('cache_dir', None, 'Folder of the cache of volumes; default: that of the user.')
STEPS = flags.DEFINE_integer('steps', 150, 'Training steps of the RealNVP flow.', lower_bound=1)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- flow-quality --> is replaced by the table.')

_IMAGE_SIZE = 32
_HEAD = (
    '| flow | steps | training, min | held-out bits/dim | round trip float32: images; 4 sd | float64: images; 4 sd |\n'
    '|---|---|---|---|---|---|'
)


def main():
    """Trains, measures and writes the table.

    Raises:
        UserError: if the data or the file of --output cannot be used.
    """
    app.import_tensorflow()
    definition = dataclasses.replace(data.get_definition('fetal'), image_size=_IMAGE_SIZE)
    info = RunInfo(DATA_DIR.value, '', is_phantom=False, phantom_subjects=120, seed=0, preset='')
    population = load_volumes(definition, info, DATA_DIR.value, CACHE_DIR.value)
    real_nvp, seconds = _row('real_nvp', definition, population, STEPS.value, 0.0)
    rows = [real_nvp, _row('glow', definition, population, STEPS.value, 0.0)[0]]
    rows.append(_row('glow', definition, population, 100 * STEPS.value, seconds / 60.0)[0])
    text = '\n'.join([_HEAD, *rows])
    print(text)
    if OUTPUT.value:
        from benchmarks.measure import replace_section

        replace_section(OUTPUT.value, 'flow-quality', text + '\n')


def _row(architecture, definition, population, steps, max_minutes):
    """Trains one flow; returns its line of the table and the seconds that its training took."""
    trainer, seconds = _train(architecture, definition, population, steps, max_minutes)
    model = trainer.averaged_model
    bits = _bits(model, definition, population)
    errors = [_round_trips(model, population.subset('test').images, dtype) for dtype in ('float32', 'float64')]
    cells = [f'{real:.1e}; {far:.1e}' for real, far in errors]
    line = f'| {architecture} | {int(trainer.step)} | {seconds / 60:.1f} | {bits:.3f} | {" | ".join(cells)} |'
    print(line, file=sys.stderr)
    return line, seconds


def _train(architecture, definition, population, steps, max_minutes):
    from tfp_bruno.bijectors import ARCHITECTURES, GlowSettings
    from tfp_bruno.data.encoding import one_hot_poses
    from tfp_bruno.models import ModelSettings
    from tfp_bruno.training import AugmentationSettings, Trainer, TrainingSettings
    from tfp_bruno.training.sequences import make_sequences

    flow = dataclasses.replace(ARCHITECTURES[architecture](), alpha=GlowSettings().alpha)
    shape = (_IMAGE_SIZE, _IMAGE_SIZE, 1)
    model = ModelSettings(shape, definition.num_slices, 'exchangeable', flow)
    settings = TrainingSettings(steps=steps, max_minutes=max_minutes, warmup_steps=20, average_decay=0.98)
    trainer = Trainer(model, settings)
    train = population.subset('train').images
    trainer.initialize(train[..., None], one_hot_poses(np.arange(definition.num_slices), definition.num_slices))
    spacing = definition.slice_spacing, definition.pixel_spacing, definition.pixel_spacing
    augmentation = AugmentationSettings(probability=0.9)
    sequences = make_sequences(train, settings.sequence_length, settings.batch_size, spacing, augmentation, 0)
    for step, parts in trainer.train(sequences):
        if step % 25 == 0:
            minutes = float(trainer.seconds) / 60
            print(f'{architecture} step {step}  {minutes:.1f} min  {float(parts["loss"]):.4f}', file=sys.stderr)
    return trainer, float(trainer.seconds)


def _bits(bruno, definition, population):
    from tfp_bruno.evaluation import bits_per_dimension
    from tfp_bruno.runs import TrainedModel

    info = RunInfo(None, 'phantoms', is_phantom=True, phantom_subjects=0, seed=0, preset='')
    model = TrainedModel(bruno, definition, 'flow', info)
    return float(bits_per_dimension(model, population.subset('test').images, 0).mean())


def _round_trips(bruno, images, dtype):
    """Returns the largest errors in image units: of real images, and of images of latents within 4 deviations."""
    import tensorflow as tf

    from tfp_bruno.data.encoding import one_hot_poses, to_level_middle

    flow = bruno.bijector.copy(dtype=dtype, network_dtype=dtype)
    slices = np.arange(0, images.shape[1], 8)
    poses = tf.constant(one_hot_poses(slices, images.shape[1]), dtype)
    loc, deviations = bruno.distribution.mean()[0], bruno.distribution.stddev()[0]
    noise = np.random.default_rng(0).uniform(-4.0, 4.0, (len(slices), loc.shape[0]))
    latents = tf.cast(loc, dtype) + tf.cast(deviations, dtype) * tf.constant(noise, dtype)
    decoded = flow.forward(latents, conditional_input=poses)
    real = [tf.constant(to_level_middle(subject[slices])[..., None], dtype) for subject in images]

    @tf.function(autograph=False)
    def error(value):
        there = flow.inverse(value, conditional_input=poses)
        return tf.reduce_max(tf.abs(flow.forward(there, conditional_input=poses) - value))

    return max(float(error(value)) for value in real), float(error(decoded))


if __name__ == '__main__':
    app.run_main(main)
