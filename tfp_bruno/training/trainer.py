"""The training loop, on one device or several."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfp_bruno.runs import TrainingSettings
from tfp_bruno.runs.kinds import build
from tfp_bruno.runs.loadings import other_variables
from tfp_bruno.training.strategy import Workers
from tfp_bruno.training.tasks import make_task


class Trainer:
    """A model with its optimiser, its averaged weights and its checkpoints.

    Attributes:
        model: The model that is trained: a `ConditionalBruno` or a deep baseline.
        averaged_model: A second model with the moving averages of the weights, for evaluation and reconstruction.
        averaged_variables: Those of its variables that are saved.
        step: Number of steps taken, a variable.
        seconds: Time that the loop has taken, over all resumptions, a variable.
        checkpoint: The state of the training, a `tf.train.Checkpoint`.
        rate_factor: Factor of the learning rate of the settings.
        workers: The processes that train the model together.
    """

    def __init__(
        self,
        model_settings: Any,
        settings: TrainingSettings,
        strategy: tf.distribute.Strategy | None = None,
        saves_loadings: bool = True,
    ) -> None:
        """Creates all variables.

        Args:
            model_settings: Settings of a kind of model, see `tfp_bruno.runs.KINDS`.
            settings: Settings of its training, with an objective of that kind.
            strategy: Devices of the training; `None`: the current strategy.
            saves_loadings: Whether the state of the training, and the weights to hand on, include the loadings of a
                factor process, which are not trained.
        """
        self.settings = settings
        self.rate_factor = 1.0
        self.strategy = strategy or tf.distribute.get_strategy()
        self.workers = Workers(self.strategy)
        self._task: Any = make_task(settings)
        # Outside the scope: a mirrored variable cannot be read as a number.
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name='step')
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name='seconds')
        with self.strategy.scope():
            self.model = build(model_settings, settings.sequence_length, settings.seed)
            self.averaged_model = build(
                model_settings, settings.sequence_length, settings.seed, share_weights_with=self.model
            )
            self._variables = self.model.trainable_variables
            self._optimizer = tf_keras.optimizers.legacy.Adam(
                settings.learning_rate, beta_2=self._task.beta_2, global_clipnorm=settings.clip_norm
            )
            if getattr(model_settings, 'network_dtype', None) == 'mixed_float16':
                # Small gradients would be 0 in float16: those of a scaled loss are not.
                self._optimizer = tf_keras.mixed_precision.LossScaleOptimizer(self._optimizer)
            # Now, not in the first step, in which mirrored variables cannot be created.
            self._optimizer._create_all_weights(self._variables)
        averaged = self.averaged_model
        self.averaged_variables = list(averaged.variables) if saves_loadings else other_variables(averaged)
        self.checkpoint = tf.train.Checkpoint(
            model=tf.train.Checkpoint(variables=list(self._variables)),
            averaged_model=tf.train.Checkpoint(variables=self.averaged_variables),
            optimizer=self._optimizer,
            step=self.step,
            seconds=self.seconds,
        )

    def initialize(
        self,
        volumes: np.ndarray,
        poses: np.ndarray,
        subjects: np.ndarray | None = None,
        overwrite_volumes: bool = False,
    ) -> None:
        """Fits the model to training data in closed form, as far as its kind has one.

        Args:
            volumes: float32 or float16 `[N, K, H, W, C]` in (0, 1), see `starting_volumes`.
            poses: float32 `[K, P]`.
            subjects: Subject of each volume, integers `[N]`; `None`: each its own.
            overwrite_volumes: Whether `volumes` may be overwritten, which saves memory.
        """
        self._task.initialize(self.model, volumes, poses, subjects, overwrite_volumes)
        self.copy_to_average()

    def restore(self, path: str) -> None:
        """Restores the state that `checkpoint` saved under a path."""
        self.checkpoint.read(path).assert_existing_objects_matched()
        for variable, average in zip(self.model.variables, self.averaged_model.variables, strict=True):
            if not variable.trainable:
                variable.assign(average)

    def copy_to_average(self) -> None:
        """Makes the averaged model equal to the trained one."""
        for average, variable in zip(self.averaged_model.variables, self.model.variables, strict=True):
            average.assign(variable)

    # Nothing in a step needs AutoGraph, whose conversion would take half the time of the first step.
    @tf.function(autograph=False)
    def _train_step(
        self, images: tf.Tensor, poses: tf.Tensor, schedule: dict[str, tf.Tensor], decay: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        self._optimizer.learning_rate.assign(schedule['learning_rate'])
        parts = self.strategy.run(self._replica_step, args=(images, poses, schedule, seed))
        for average, variable in zip(self.averaged_model.trainable_variables, self._variables, strict=True):
            average.assign_sub((1.0 - decay) * (average - variable))
        self.step.assign_add(1)
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.MEAN, part, axis=None) for name, part in parts.items()
        }

    def _replica_step(
        self, images: tf.Tensor, poses: tf.Tensor, schedule: dict[str, tf.Tensor], seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        loss = self._task.draw_loss(self.model, schedule, seed, images)
        optimizer, inputs = self._optimizer, (images, poses)
        scaled = isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer)
        scale = optimizer.get_scaled_loss if scaled else None
        parts, gradients = accumulated_gradients(loss, self._variables, inputs, self.settings.micro_batches, scale)
        if scaled:
            # Where they overflow, the optimiser takes no step and halves the scale.
            gradients = optimizer.get_unscaled_gradients(gradients)
        # The optimiser adds up the gradients of the replicas.
        gradients = [gradient / self.strategy.num_replicas_in_sync for gradient in gradients]
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return parts

    def check_finite(self) -> None:
        """Raises a `FloatingPointError` if a weight is no longer finite."""
        for variable in (*self._variables, *self.averaged_model.trainable_variables):
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                raise FloatingPointError(f'the weights are not finite after step {int(self.step)}')

    def progress(self) -> float:
        """Returns the share of the run that is done, by steps or by time, whichever is larger."""
        by_steps = int(self.step) / self.settings.steps
        limit = 60.0 * self.settings.max_minutes
        return max(by_steps, float(self.seconds) / limit) if limit > 0 else by_steps

    def train(self, sequences: tf.data.Dataset) -> Iterator[tuple[int, dict[str, tf.Tensor]]]:
        """Takes steps until the run is done.

        Args:
            sequences: Pairs of images and poses, see `make_sequences`; batches are split over the devices. Each of
                several workers takes its share of every batch.

        Yields:
            After each step, the number of steps taken, and the loss with its parts by name, see
            `tfp_bruno.training.objectives`.

        Raises:
            FloatingPointError: If the loss is no longer finite.
        """
        iterator = iter(self._distributed(sequences))
        step, seconds = int(self.step), float(self.seconds)
        while self.progress() < 1.0:
            began = time.monotonic()
            images, poses = next(iterator)
            schedule = self._task.schedule(self.progress(), step)
            schedule['learning_rate'] *= self.rate_factor
            schedule = {name: tf.constant(value, tf.float32) for name, value in schedule.items()}
            # Averages over few steps at first, so that the untrained weights are soon forgotten.
            decay = min(self.settings.average_decay, (1.0 + step) / (10.0 + step))
            # All randomness of a step follows from the seed and the step.
            seed = tf.constant([self.settings.seed % 2**31, step], tf.int32)
            parts = self._train_step(images, poses, schedule, tf.constant(decay, tf.float32), seed)
            if not math.isfinite(float(parts['loss'])):
                raise FloatingPointError(f'the loss is not finite at step {step}')
            step += 1
            # The schedule and the end of the training are the same in all workers.
            seconds = self.workers.of_chief(seconds + time.monotonic() - began)
            self.seconds.assign(seconds)
            yield step, parts

    def _distributed(self, sequences: tf.data.Dataset) -> Any:
        """Returns the batches of this process, split over its devices."""
        if self.workers.count == 1:
            return self.strategy.experimental_distribute_dataset(sequences)
        size = self.settings.batch_size // self.strategy.num_replicas_in_sync
        return self.strategy.distribute_datasets_from_function(lambda _: sequences.rebatch(size, drop_remainder=True))


def accumulated_gradients(
    loss_fn: Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]],
    variables: Sequence[tf.Variable],
    inputs: tuple[tf.Tensor, ...],
    micro_batches: int,
    scale: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
    """Returns the mean loss over parts of a batch, and its gradients, in the memory of one part.

    With one part this is a plain gradient. The parts are of equal size, so for a loss that is a mean over the batch the
    result is that of the whole batch.

    Args:
        loss_fn: From the tensors of `inputs`, or parts of them, to a scalar loss and other scalars by name.
        variables: Variables to differentiate by.
        inputs: Tensors whose first axis is the batch.
        micro_batches: Number of parts; the batch must be a multiple of it.
        scale: Returns a multiple of the loss, whose gradients are returned instead; `None`: the loss itself.

    Returns:
        parts: The mean scalars by name, with the loss as `'loss'`.
        gradients: Dense, one per variable; zero if the loss does not depend on it.
    """
    if micro_batches == 1:
        return _value_and_gradients(loss_fn, variables, inputs, scale)
    split = [tf.reshape(part, tf.concat([[micro_batches, -1], tf.shape(part)[1:]], 0)) for part in inputs]
    # The static shapes, where they are known.
    shapes = [[part.shape[0] and part.shape[0] // micro_batches, *part.shape[1:]] for part in inputs]

    @tf.function(autograph=False)
    def evaluate(*chosen: tf.Tensor) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        scaled = scale or tf.identity
        parts, gradients = _value_and_gradients(loss_fn, variables, chosen, lambda loss: scaled(loss) / micro_batches)
        return {name: part / micro_batches for name, part in parts.items()}, gradients

    def add(index: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
        chosen = [tf.ensure_shape(part[index], shape) for part, shape in zip(split, shapes, strict=True)]
        return index + 1, tf.nest.map_structure(tf.add, total, evaluate(*chosen))

    specs = [tf.TensorSpec(shape, part.dtype) for part, shape in zip(split, shapes, strict=True)]
    start = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), evaluate.get_concrete_function(*specs).structured_outputs
    )
    # One after the other: in parallel they would need the memory that this saves.
    _, total = tf.while_loop(
        lambda index, _: index < micro_batches, add, (tf.constant(0), start), parallel_iterations=1
    )
    return total


def _value_and_gradients(
    loss_fn: Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]],
    variables: Sequence[tf.Variable],
    inputs: tuple[tf.Tensor, ...],
    scale: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        loss, parts = loss_fn(*inputs)
        scaled = loss if scale is None else scale(loss)
    gradients = tape.gradient(scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # The gradient of a table is sparse, with which Adam takes several times as long.
    return {'loss': loss, **parts}, [tf.convert_to_tensor(gradient) for gradient in gradients]
