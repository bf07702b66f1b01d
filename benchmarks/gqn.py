"""What the Generative Query Network learns of a toy task, and how fast its training step is; prints markdown.

    python benchmarks/gqn.py --output=docs/baselines.md

The toy task (`toy_scenes.py`) trains for --minutes, 10 unless told otherwise; `--parts=toy` or `--parts=speed` does one
of the two. Run it on a machine that does nothing else.
"""

import pathlib
import sys
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import toy_scenes
from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

PARTS = flags.DEFINE_list('parts', ['toy', 'speed'], 'What to measure: toy, speed.')
MINUTES = flags.DEFINE_float('minutes', 10.0, 'Training time of the toy task.', lower_bound=0.1)
REPEATS = flags.DEFINE_integer('repeats', 2, 'How many steps are timed, after two that are not.', lower_bound=1)
OUTPUT = flags.DEFINE_string(
    'output', None, 'File whose sections <!-- gqn-toy --> and <!-- gqn-speed --> are replaced.'
)

_SIZE, _CONTEXTS, _QUERIES = 32, 4, 1
_STD = 0.1
_TOLD = (0, 1, 2, 4)


def main():
    """Measures, prints, and writes the tables where --output says.

    Raises:
        UserError: if a flag or the file of --output cannot be used.
    """
    known = {'toy': _toy, 'speed': _speed}
    for part in PARTS.value:
        if part not in known:
            raise UserError(f'--parts={part}: is neither toy nor speed.')
    app.import_tensorflow()
    from benchmarks import measure

    for part in PARTS.value:
        text = f'{measure.describe_machine()}.\n\n{known[part]()}'
        print(text)
        if OUTPUT.value:
            measure.replace_section(OUTPUT.value, f'gqn-{part}', text)


def _toy():
    """Trains on the toy task; returns a table of what was learnt."""
    import tensorflow as tf

    from benchmarks.measure import verdict
    from tfp_bruno.baselines import GenerativeQueryNetworkSettings
    from tfp_bruno.training import BoundSettings, Trainer, TrainingSettings

    model = GenerativeQueryNetworkSettings(
        (_SIZE, _SIZE, 1),
        num_slices=2,
        representation_channels=32,
        steps=4,
        shared_cores=True,
        hidden_channels=32,
        canvas_channels=8,
        kernel_size=5,
    )
    settings = TrainingSettings(
        steps=10**6,
        max_minutes=MINUTES.value,
        batch_size=36,
        sequence_length=_CONTEXTS + _QUERIES,
        learning_rate=1e-3,
        clip_norm=1000.0,
        average_decay=0.99,
        objective=BoundSettings(first_std=0.5, last_std=_STD, std_steps=0, rate_steps=0, max_contexts=_CONTEXTS),
    )
    trainer = Trainer(model, settings)
    trainer.copy_to_average()
    scenes = tf.data.Dataset.from_tensor_slices(toy_scenes.make_scenes(6000, _CONTEXTS + _QUERIES, _SIZE, seed=1))
    scenes = scenes.shuffle(6000, seed=1).repeat().batch(settings.batch_size, drop_remainder=True)
    for step, parts in trainer.train(scenes):
        if step % 100 == 0:
            shown = ', '.join(f'{name} {float(value):.4g}' for name, value in parts.items())
            print(f'step {step}, {float(trainer.seconds) / 60:.1f} min: {shown}', file=sys.stderr)
    test = toy_scenes.make_scenes(200, _CONTEXTS + _QUERIES, _SIZE, seed=2)
    figures = {number: _figures(trainer.averaged_model, *test, number) for number in _TOLD}
    lines = [
        f'{int(trainer.step)} steps in {float(trainer.seconds) / 60:.1f} minutes; 200 scenes that were not trained on.',
        '',
        '| contexts | squared error of the prediction | explained variance | -ELBO without constant, nats | KL, nats | '
        'KL per step |',
        '|---|---|---|---|---|---|',
    ]
    for number, each in figures.items():
        steps = ' '.join(f'{value:.1f}' for value in each['steps'])
        lines.append(
            f'| {number} | {each["error"]:.5f} | {each["explained"]:.3f} | {each["loss"]:.1f} | '
            f'{sum(each["steps"]):.1f} | {steps} |'
        )
    most = figures[_CONTEXTS]
    lines += [
        '',
        f'- explained variance of the prediction at 4 contexts: {verdict(most["explained"], 0.9, at_least=True)}',
        f'- -ELBO without constant at 4 contexts, nats an image: {verdict(most["loss"], 50)}',
        f'- KL without contexts, nats an image: {verdict(sum(figures[0]["steps"]), 10, at_least=True)}',
    ]
    return '\n'.join(lines)


def _figures(model, images, poses, number):
    """Returns error, explained variance, loss and KL per step for a number of contexts."""
    import tensorflow as tf

    from tfp_bruno.training.objectives import bound_loss, prediction_error

    inputs = (model, tf.constant(images), tf.constant(poses), _CONTEXTS, tf.fill([len(images)], number))
    loss, parts = bound_loss(*inputs, _STD, tf.constant([0, 1]))
    error = float(prediction_error(*inputs))
    queries = images[:, _CONTEXTS:]
    return {
        'error': error,
        # Of the pixels about their mean over all scenes and views, which is the same at every pose.
        'explained': 1.0 - error / float(np.mean(np.square(queries - queries.mean((0, 1))))),
        'loss': float(loss),
        'steps': [float(parts[f'kl_{step}']) for step in range(1, model.settings.steps + 1)],
    }


def _speed():
    """Times training steps at 64 x 64, batch 36, 8 steps, 4 contexts; returns a table."""
    from benchmarks import measure

    before = measure.matmul_flops()
    rows = [_step(name, **sizes) for name, sizes in _SIZES.items()]
    ceiling = max(before, measure.matmul_flops())
    lines = [
        f'Ceiling, a product of two 2048 x 2048 float32 matrices: {ceiling / 1e9:.0f} GFLOP/s. 64 x 64, batch 36, '
        '8 steps of one shared core, 4 contexts and 1 query each; loss, gradients and optimiser.',
        '',
        '| Generative Query Network | multiply-adds of a step | at the ceiling | training step | ratio |',
        '|---|---|---|---|---|',
    ]
    for name, adds, seconds in rows:
        least = 2.0 * adds / ceiling
        target = measure.verdict(seconds / least, 1.5)
        lines.append(
            f'| {name} | {adds / 1e9:.0f} G | {least:.2f} s | {seconds:.2f} s | {seconds / least:.2f} ({target}) |'
        )
    return '\n'.join(lines)


_SIZES = {
    'widths of `--preset=cpu`': {
        'representation_channels': 64,
        'hidden_channels': 32,
        'canvas_channels': 16,
        'kernel_size': 3,
    },
    'widths of its paper': {},
}


def _step(name, **sizes):
    """Returns name, multiply-adds and median seconds of a training step."""
    import tensorflow as tf

    from benchmarks.measure import multiply_adds
    from tfp_bruno.baselines import GenerativeQueryNetworkSettings
    from tfp_bruno.training import BoundSettings, Trainer, TrainingSettings
    from tfp_bruno.training.objectives import bound_loss

    model = GenerativeQueryNetworkSettings((64, 64, 1), 7, steps=8, shared_cores=True, **sizes)
    settings = TrainingSettings(
        steps=2 + REPEATS.value, batch_size=36, sequence_length=5, objective=BoundSettings(min_contexts=4)
    )
    trainer = Trainer(model, settings)
    rng = np.random.default_rng(0)
    images = rng.random((36, 5, 64, 64, 1), np.float32)
    poses = rng.normal(size=(36, 5, 7)).astype(np.float32)
    graph = tf.function(
        lambda x, v: bound_loss(trainer.model, x, v, 4, tf.fill([36], 4), 1.0, tf.constant([0, 1]))[0], autograph=False
    )
    # A gradient to input and kernel costs what the value does.
    adds = 3.0 * multiply_adds(graph.get_concrete_function(images, poses).graph)
    batches = tf.data.Dataset.from_tensors((images, poses)).repeat()
    times, began = [], time.perf_counter()
    for _ in trainer.train(batches):
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
        print(f'{name}: {times[-1]:.1f} s', file=sys.stderr)
    return name, adds, float(np.median(times[2:]))


if __name__ == '__main__':
    app.run_main(main)
