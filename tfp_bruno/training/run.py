"""One training run: data, loop, learning curve, checkpoints, weights."""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfp_bruno.data.atomic import write_text
from tfp_bruno.data.encoding import one_hot_poses
from tfp_bruno.errors import UserError
from tfp_bruno.training.learning_curve import HeldOut
from tfp_bruno.training.sequences import make_sequences, with_plain_batches
from tfp_bruno.training.start import settings_of_start, starting_volumes
from tfp_bruno.training.start_cache import StartCache
from tfp_bruno.training.tasks import make_task
from tfp_bruno.training.trainer import Trainer

__all__ = ['choose_strategy', 'train_run']


def choose_strategy(devices):
    """Returns the `tf.distribute.Strategy` for `devices`: one device, or a mirrored copy on each of several."""
    gpus = tf.config.list_logical_devices('GPU')
    found = gpus or tf.config.list_logical_devices('CPU')
    if len(found) > 1 and (devices == 'all' or (devices == 'auto' and gpus)):
        return tf.distribute.MirroredStrategy([device.name for device in found])
    return tf.distribute.get_strategy()


def train_run(run, population, devices='auto', cache_dir=None):
    """Trains the model of a run, from its newest checkpoint if there is one, and writes its weights.

    Args:
        run: A `tfp_bruno.runs.Run` whose settings are on disk.
        population: `tfp_bruno.data.Population` with both splits.
        devices: 'auto', 'one' or 'all', see `choose_strategy`.
        cache_dir: Folder in which what a model starts from is kept for the next run. Default value: `None`, nowhere.

    Raises:
        UserError: if the loss is no longer finite, or a batch cannot be divided among the devices.
    """
    settings = run.training
    strategy = choose_strategy(devices)
    replicas = strategy.num_replicas_in_sync
    if settings.batch_size % (replicas * settings.micro_batches):
        raise UserError(
            f'`batch_size={settings.batch_size}`: must be a multiple of the {replicas} devices times '
            f'micro_batches = {settings.micro_batches}.'
        )
    train, test = population.subset('train').images, population.subset('test').images
    poses = one_hot_poses(np.arange(run.definition.num_slices), run.definition.num_slices)
    spacing = run.definition.slice_spacing, run.definition.pixel_spacing, run.definition.pixel_spacing
    trainer = Trainer(run.model, settings, strategy)
    manager = tf.train.CheckpointManager(trainer.checkpoint, str(run.checkpoints), max_to_keep=2)
    if manager.latest_checkpoint:
        _restore(trainer, manager.latest_checkpoint)
        logging.info('Resumed at step %d.', int(trainer.step))
    else:
        _start(trainer, run, train, spacing, poses, cache_dir)
    sequences = _sequences(train, settings, spacing, int(trainer.step))
    held_out = HeldOut(test, settings, spacing)
    with tf.summary.create_file_writer(str(run.logs)).as_default():
        _loop(run, trainer, sequences, held_out, manager)


def _start(trainer, run, images, spacing, poses, cache_dir):
    """Starts the model of a trainer, out of the cache if it is there."""
    settings = trainer.settings

    def start():
        volumes, subjects = starting_volumes(
            images, settings.start_volumes, spacing, settings.augmentation, settings.seed
        )
        trainer.initialize(volumes, poses, subjects, overwrite_volumes=True)

    if cache_dir is None or not settings.start_volumes:
        start()
        return
    cache = StartCache(pathlib.Path(cache_dir) / 'starts')
    key = cache.key(images, settings_of_start(run.model, run.training))
    if cache.read(key, trainer.model.variables):
        trainer.copy_to_average()
    else:
        start()
        cache.write(key, trainer.model.variables)


def _sequences(images, settings, spacing, step):
    """Returns the batches of a run from a step on."""

    def make(augmentation, seed):
        sizes = settings.sequence_length, settings.batch_size
        return make_sequences(images, *sizes, spacing, augmentation, seed, settings.common_slices)

    seed = settings.seed + step
    sequences = make(settings.augmentation, seed)
    every = make_task(settings).prior_every
    if not every:
        return sequences
    plain = make(dataclasses.replace(settings.augmentation, probability=0.0), seed + 1)
    return with_plain_batches(sequences, plain, every, step)


def _restore(trainer, path):
    try:
        trainer.restore(path)
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        raise UserError(
            f'{path}: cannot be restored ({str(error).splitlines()[0]:.100}); remove it to resume an earlier one.'
        ) from error


def _loop(run, trainer, sequences, held_out, manager):
    settings = trainer.settings
    recent, step = [], int(trainer.step)
    first = step + 1
    with tqdm(total=settings.steps, initial=step, disable=None, unit='step') as bar:
        try:
            for step, parts in trainer.train(sequences):
                recent.append({name: float(part) for name, part in parts.items()})
                if step == first:
                    logging.info('Training has begun: step %d, loss %.4f.', step, recent[0]['loss'])
                bar.update()
                if step % settings.evaluate_every == 0:
                    _record(run, trainer, held_out, _means(recent))
                    manager.save(step)
                    recent = []
        except FloatingPointError as error:
            raise UserError(f'{run.folder}: {error}; set a smaller learning_rate in run.json, and `resume`.') from error
    if recent:
        _record(run, trainer, held_out, _means(recent))
        manager.save(step)


def _means(records):
    return {name: float(np.mean([record[name] for record in records])) for name in records[0]}


def _record(run, trainer, held_out, training):
    """Writes one point of the learning curve, and the weights that belong to it."""
    step = int(trainer.step)
    point = {f'train/{name}': value for name, value in training.items()}
    point |= {f'held_out/{name}': value for name, value in held_out.measure(trainer.averaged_model).items()}
    for name, value in point.items():
        tf.summary.scalar(name, value, step=step)
    line = '  '.join(f'{name} {value:.4f}' for name, value in point.items())
    logging.info('step %d  %.1f min  %s', step, float(trainer.seconds) / 60.0, line)
    curve = run.folder / 'learning_curve.jsonl'
    earlier = curve.read_text(encoding='utf-8') if curve.exists() else ''
    write_text(curve, earlier + json.dumps({'step': step, 'seconds': float(trainer.seconds), **point}) + '\n')
    # TensorFlow writes a checkpoint under temporary names and renames it.
    tf.train.Checkpoint(variables=list(trainer.averaged_model.variables)).write(str(run.weights))
