"""One training run: data, loop, learning curve, checkpoints, weights."""

import contextlib
import os
import pathlib
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from tqdm import tqdm

from tfp_bruno.data import Population
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.errors import UserError, warn
from tfp_bruno.runs import Run, TrainingSettings
from tfp_bruno.runs.loadings import assign_loadings, read_loadings, round_loadings
from tfp_bruno.runs.weights import write_weights
from tfp_bruno.training.checkpoints import Checkpoints
from tfp_bruno.training.learning_curve import LearningCurve
from tfp_bruno.training.registration_report import write_registration_report
from tfp_bruno.training.residual_scale import scale_residual
from tfp_bruno.training.start import StartCache, settings_of_start
from tfp_bruno.training.stopping import StopRequest, TrainingStoppedError, catch_signals
from tfp_bruno.training.strategy import Workers, choose_strategy, wait_for_file
from tfp_bruno.training.subjects import MappedSubjects, TrainingSubjects, make_subjects
from tfp_bruno.training.tasks import make_task
from tfp_bruno.training.trainer import Trainer

_HELD_OUT_BATCHES = 6
_MOST_ROLLBACKS = 5


def train_run(
    run: Run,
    population: Population,
    strategy: tf.distribute.Strategy | None = None,
    cache_dir: str | os.PathLike | None = None,
    on_nan: str = 'halt',
) -> None:
    """Trains the model of a run, from its newest checkpoint that can be restored, and writes its weights.

    Args:
        run: A run whose settings are on disk.
        population: The subjects with their splits. The learning curve is that of the validation subjects, if there are
            any; test subjects are not used.
        strategy: See `choose_strategy`; `None`: that of 'auto'. Several workers must all call this function, with the
            same run on a file system that they share. The first one alone writes to its folder.
        cache_dir: Folder in which the closed-form start is kept for the next run; `None` keeps none.
        on_nan: What to do if loss or weights are no longer finite: 'halt', or 'rollback' to the last checkpoint with
            half the learning rate, five times at most.

    Raises:
        UserError: If loss or weights are no longer finite, the folder of the run is gone or cannot be written, the run
            has a learning curve but no checkpoint that can be restored, a batch cannot be divided among the devices, or
            another worker has ended.
        TrainingStoppedError: If a signal ended the training; its state is saved.
    """
    strategy = strategy or choose_strategy('auto')
    with Workers(strategy).watched():
        _train(run, population, strategy, None if cache_dir is None else pathlib.Path(cache_dir), on_nan)


def _train(
    run: Run, population: Population, strategy: tf.distribute.Strategy, cache_dir: pathlib.Path | None, on_nan: str
) -> None:
    settings = run.training
    replicas = strategy.num_replicas_in_sync
    if settings.batch_size % (replicas * settings.micro_batches):
        raise UserError(
            f'`batch_size={settings.batch_size}`: must be a multiple of the {replicas} devices times '
            f'`micro_batches={settings.micro_batches}`.'
        )
    train = population.subset('train')
    workers = Workers(strategy)
    workers.check_equal(run.definition, run.model, settings, population.names, population.splits, on_nan)
    subjects = workers.chief_first(lambda: make_subjects(run, train.images, cache_dir))
    # States of earlier versions hold the loadings themselves.
    is_earlier = not run.loadings.exists() and any(run.checkpoints.glob('*.index'))
    trainer = Trainer(run.model, settings, strategy, saves_loadings=bool(workers.of_chief(is_earlier)))
    checkpoints = Checkpoints(trainer.checkpoint, run.checkpoints)
    held_out = None
    with workers.together():
        if workers.is_chief:
            if isinstance(subjects, MappedSubjects) and not run.registration_report.exists():
                write_registration_report(run.registration_report, run.definition, train, subjects.registration)
            _begin(trainer, run, train.images, subjects, checkpoints, cache_dir)
            if 'validation' in population.splits:
                held_out = HeldOut(subjects.held_out(population.subset('validation').images), settings)
            else:
                logging.info('There are no validation subjects: the held-out loss is not measured.')
    _follow(trainer, run, checkpoints)
    writer = tf.summary.create_file_writer(str(run.logs)) if workers.is_chief else tf.summary.create_noop_writer()
    share = (workers.index, workers.count)
    with writer.as_default(), catch_signals() as stop:
        if held_out is not None and settings.keep_best and not LearningCurve(run.learning_curve).points():
            # The start is handed on unless training makes it better.
            with _writing(run):
                _record(run, trainer, _measure(trainer, held_out, {}))
        for rollbacks in range(_MOST_ROLLBACKS + 1):
            try:
                sequences = workers.chief_first(lambda: subjects.sequences(int(trainer.step), share))
                _loop(run, trainer, sequences, held_out, checkpoints, stop)
                with workers.together():
                    if held_out is not None and settings.fits_residual:
                        _fit_residual(run, trainer, held_out)
                return
            except FloatingPointError as error:
                can_go_back = on_nan == 'rollback' and rollbacks < _MOST_ROLLBACKS
                if not can_go_back or not _roll_back(trainer, run, checkpoints):
                    raise UserError(_not_finite(run, error, checkpoints.steps())) from error
                factor = trainer.rate_factor
                warn(f'{run.folder}: {error}; back to step {int(trainer.step)} with {factor:g} of the learning rate.')


def _begin(
    trainer: Trainer,
    run: Run,
    images: np.ndarray,
    subjects: TrainingSubjects,
    checkpoints: Checkpoints,
    cache_dir: pathlib.Path | None,
) -> None:
    """Restores the newest state of a run, or starts its model; several workers need the state on disk."""
    step = checkpoints.restore(trainer.restore)
    curve = LearningCurve(run.learning_curve)
    if step is not None:
        if run.loadings.exists():
            assign_loadings(trainer.model, read_loadings(run.loadings), run.loadings)
        curve.cut(step)
        logging.info('Resumed at step %d.', step)
    # The first point of a step may be of a training that ended before its first state was written.
    elif sum(point['step'] > 0 for point in curve.points()) > 1:
        raise UserError(
            f'{run.checkpoints}: holds no checkpoint, although the run has a learning curve to step '
            f'{curve.last_step()}; put the folder back, or train again in another folder.'
        )
    else:
        curve.cut(-1)
        _start(trainer, run, images, subjects, cache_dir)
        # From here on the training has the loadings that the run holds, at every resumption the same.
        with _writing(run):
            round_loadings(trainer.model, run.loadings)
            if trainer.workers.count > 1:
                checkpoints.save(0)


def _follow(trainer: Trainer, run: Run, checkpoints: Checkpoints) -> None:
    """Restores the state of the chief in the other workers, from the files of the run."""
    workers = trainer.workers
    step, has_loadings = workers.gather(int(trainer.step), run.loadings.exists())[0].astype(int)
    with workers.together():
        if not workers.is_chief:
            path = checkpoints.path(step)
            wait_for_file(path.with_name(f'{path.name}.index'))
            trainer.restore(str(path))
            if has_loadings:
                wait_for_file(run.loadings)
                assign_loadings(trainer.model, read_loadings(run.loadings), run.loadings)


def _roll_back(trainer: Trainer, run: Run, checkpoints: Checkpoints) -> bool:
    """Restores the newest state and halves the learning rate; returns whether there is a state."""
    workers = trainer.workers
    with workers.together():
        step = checkpoints.restore(trainer.restore) if workers.is_chief else None
        if step is not None:
            LearningCurve(run.learning_curve).cut(step)
    if not workers.of_chief(step is not None):
        return False
    _follow(trainer, run, checkpoints)
    trainer.rate_factor *= 0.5
    return True


def _not_finite(run: Run, error: FloatingPointError, steps: Sequence[int]) -> str:
    """Returns the message of a training that cannot go on."""
    if not steps:
        return f'{run.folder}: {error}, before a checkpoint; train again with a smaller learning_rate.'
    return f'{run.folder}: {error}; that of step {steps[-1]} is kept: set a smaller `learning_rate`, and `resume`.'


class HeldOut:
    """The loss on a few fixed batches of subjects that are not trained on, without augmentation."""

    def __init__(self, sequences: tf.data.Dataset, settings: TrainingSettings) -> None:
        """Defines the batches.

        Args:
            sequences: Batches of sequences; the first ones are taken.
            settings: Settings of the training.
        """
        self._sequences = sequences
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
    subjects: TrainingSubjects,
    cache_dir: pathlib.Path | None,
) -> None:
    """Starts the model of a trainer in closed form, or reads that start from the cache."""
    settings = trainer.settings

    def start() -> None:
        volumes, numbers = subjects.volumes()
        trainer.initialize(volumes, subjects.poses, numbers, overwrite_volumes=True)

    if cache_dir is None or not settings.start_volumes:
        start()
        return
    cache = StartCache(cache_dir / 'starts')
    key = cache.key(images, settings_of_start(run.model, run.training))
    if cache.read(key, trainer.model.variables):
        trainer.copy_to_average()
    else:
        start()
        cache.write(key, trainer.model.variables)


def _loop(
    run: Run,
    trainer: Trainer,
    sequences: tf.data.Dataset,
    held_out: HeldOut | None,
    checkpoints: Checkpoints,
    stop: StopRequest,
) -> None:
    settings, workers = trainer.settings, trainer.workers
    recent: list[dict[str, float]] = []
    step = int(trainer.step)
    first = step + 1

    def save() -> None:
        # Before anything is written, so that the files stay good.
        trainer.check_finite()
        with workers.together():
            if workers.is_chief:
                point = _measure(trainer, held_out, _means(recent))
                if not np.all(np.isfinite(list(point.values()))):
                    raise FloatingPointError(f'the held-out loss is not finite after step {step}')
                with _writing(run):
                    _record(run, trainer, point)
                    checkpoints.save(step, LearningCurve(run.learning_curve).best_step('held_out/loss'))
        recent.clear()

    with tqdm(total=settings.steps, initial=step, disable=None if workers.is_chief else True, unit='step') as bar:
        for step, parts in trainer.train(sequences):
            recent.append({name: float(part) for name, part in parts.items()})
            if step == first:
                logging.info('Training has begun: step %d, loss %.4f.', step, recent[0]['loss'])
            bar.update()
            # A signal to one worker stops all of them after the same step.
            signal_number = int(workers.gather(stop.signal_number or 0).max())
            if step % settings.evaluate_every == 0 or signal_number:
                save()
            if signal_number:
                name = signal.Signals(signal_number).name
                message = f'{name}: stopped after step {step}; the state is saved, `resume` continues it.'
                raise TrainingStoppedError(message, signal_number)
    if recent:
        save()


def _fit_residual(run: Run, trainer: Trainer, held_out: HeldOut) -> None:
    """Fits the variance of the residual of the weights that are handed on to the held-out subjects."""
    model = trainer.averaged_model
    process = getattr(model, 'distribution', None)
    if isinstance(process, FactorProcess):
        with _writing(run):
            scale_residual(run, process, trainer.averaged_variables, lambda: held_out.measure(model)['conditional'])


def _means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([record[name] for record in records])) for name in records[0]}


def _measure(trainer: Trainer, held_out: HeldOut | None, training: Mapping[str, float]) -> dict[str, float]:
    """Returns one point of the learning curve."""
    point = {f'train/{name}': value for name, value in training.items()}
    if held_out is None:
        return point
    return point | {f'held_out/{name}': value for name, value in held_out.measure(trainer.averaged_model).items()}


def _record(run: Run, trainer: Trainer, point: Mapping[str, float]) -> None:
    """Writes one point of the learning curve, and the weights that belong to it unless earlier ones are better."""
    step = int(trainer.step)
    for name, value in point.items():
        tf.summary.scalar(name, value, step=step)
    line = '  '.join(f'{name} {value:.4f}' for name, value in point.items())
    logging.info('step %d  %.1f min  %s', step, float(trainer.seconds) / 60.0, line)
    curve = LearningCurve(run.learning_curve)
    are_handed_on = not trainer.settings.keep_best or curve.is_least(point, 'held_out/loss')
    curve.append({'step': step, 'seconds': float(trainer.seconds), **point})
    if are_handed_on:
        write_weights(run.folder / 'weights', trainer.averaged_variables)


@contextlib.contextmanager
def _writing(run: Run) -> Iterator[None]:
    """Raises a UserError of one line if the folder of the run is gone or cannot be written."""
    if not run.settings_file.exists():
        raise UserError(f'{run.folder}: was removed during the training; train again.')
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow: '{{node}} file; reason [operation]'.
        text = re.sub(r' \[Op:.*', '', str(error).splitlines()[0]).rpartition('; ')[2]
        reason = getattr(error, 'strerror', None) or text[:100]
        raise UserError(
            f'{run.folder}: cannot be written ({reason}); make room there, and `resume` from the last state.'
        ) from error
