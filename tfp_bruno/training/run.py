"""One training run: data, loop, learning curve, checkpoints, weights."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfp_bruno.data import Population
from tfp_bruno.data.atomic import write_text
from tfp_bruno.data.encoding import one_hot_poses
from tfp_bruno.errors import UserError
from tfp_bruno.runs import AugmentationSettings, Run, TrainingSettings
from tfp_bruno.training.sequences import make_sequences, with_plain_batches
from tfp_bruno.training.start import StartCache, settings_of_start, starting_volumes
from tfp_bruno.training.tasks import make_task
from tfp_bruno.training.trainer import Trainer

__all__ = ['HeldOut', 'choose_strategy', 'train_run']

_HELD_OUT_BATCHES = 6
_HELD_OUT_SEED = 12345


def train_run(
    run: Run, population: Population, devices: str = 'auto', cache_dir: str | os.PathLike | None = None
) -> None:
    """Trains the model of a run, from its newest checkpoint if there is one, and writes its weights.

    Args:
        run: A run whose settings are on disk.
        population: The subjects, with both splits.
        devices: See `choose_strategy`.
        cache_dir: Folder in which the closed-form start is kept for the next run; `None` keeps none.

    Raises:
        UserError: If the loss is no longer finite, a checkpoint is damaged, or a batch cannot be divided among the
            devices.
    """
    settings = run.training
    strategy = choose_strategy(devices)
    replicas = strategy.num_replicas_in_sync
    if settings.batch_size % (replicas * settings.micro_batches):
        raise UserError(
            f'`batch_size={settings.batch_size}`: must be a multiple of the {replicas} devices times '
            f'`micro_batches={settings.micro_batches}`.'
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


def choose_strategy(devices: str) -> tf.distribute.Strategy:
    """Returns the strategy of some devices: one device, or a mirrored copy of the model on each of several.

    Args:
        devices: 'one'; 'all' GPUs, or all CPU devices where there is no GPU; or 'auto', all GPUs if there are several.
    """
    gpus = tf.config.list_logical_devices('GPU')
    found = gpus or tf.config.list_logical_devices('CPU')
    if len(found) > 1 and (devices == 'all' or (devices == 'auto' and gpus)):
        return tf.distribute.MirroredStrategy([device.name for device in found])
    return tf.distribute.get_strategy()


class HeldOut:
    """The loss on a few fixed batches of held-out subjects, without augmentation; it selects nothing."""

    def __init__(self, images: np.ndarray, settings: TrainingSettings, spacing: Sequence[float]) -> None:
        """Defines the batches.

        Args:
            images: float32 `[S, K, H, W]` in [0, 1].
            settings: Settings of the training.
            spacing: Distance between voxels along (K, H, W), mm.
        """
        self._sequences = make_sequences(
            images, settings.sequence_length, settings.batch_size, spacing, AugmentationSettings(), _HELD_OUT_SEED
        )
        self._task: Any = make_task(settings)
        self._batches: list[tuple[tf.Tensor, tf.Tensor]] = []
        self._measure: Any = None

    def measure(self, model: Any) -> dict[str, float]:
        """Returns the parts of the training loss of a model, averaged over the batches, with four contexts."""
        if self._measure is None:
            # Drawn only now, so that the first step of the training need not wait.
            self._batches = list(self._sequences.take(_HELD_OUT_BATCHES))
            self._measure = tf.function(lambda x, poses: self._task.held_out(model, x, poses), autograph=False)
        return _means([self._measure(images, poses) for images, poses in self._batches])


def _start(
    trainer: Trainer,
    run: Run,
    images: np.ndarray,
    spacing: Sequence[float],
    poses: np.ndarray,
    cache_dir: str | os.PathLike | None,
) -> None:
    """Starts the model of a trainer in closed form, or reads that start from the cache."""
    settings = trainer.settings

    def start() -> None:
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


def _sequences(images: np.ndarray, settings: TrainingSettings, spacing: Sequence[float], step: int) -> tf.data.Dataset:
    """Returns the batches of a run from a step on."""

    def make(augmentation: AugmentationSettings, seed: int) -> tf.data.Dataset:
        sizes = settings.sequence_length, settings.batch_size
        return make_sequences(images, *sizes, spacing, augmentation, seed, settings.common_slices)

    seed = settings.seed + step
    sequences = make(settings.augmentation, seed)
    every = make_task(settings).prior_every
    if not every:
        return sequences
    plain = make(dataclasses.replace(settings.augmentation, probability=0.0), seed + 1)
    return with_plain_batches(sequences, plain, every, step)


def _restore(trainer: Trainer, path: str) -> None:
    try:
        trainer.restore(path)
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        raise UserError(
            f'{path}: cannot be restored ({str(error).splitlines()[0]:.100}); remove it to resume an earlier one.'
        ) from error


def _loop(
    run: Run,
    trainer: Trainer,
    sequences: tf.data.Dataset,
    held_out: HeldOut,
    manager: tf.train.CheckpointManager,
) -> None:
    settings = trainer.settings
    recent: list[dict[str, float]] = []
    step = int(trainer.step)
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
            raise UserError(
                f'{run.folder}: {error}; set a smaller `learning_rate` in run.json, and `resume`.'
            ) from error
    if recent:
        _record(run, trainer, held_out, _means(recent))
        manager.save(step)


def _means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([record[name] for record in records])) for name in records[0]}


def _record(run: Run, trainer: Trainer, held_out: HeldOut, training: Mapping[str, float]) -> None:
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
