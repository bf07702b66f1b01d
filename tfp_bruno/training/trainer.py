"""The training loop, on one device or several."""

import math
import time

import tensorflow as tf
import tf_keras

from tfp_bruno.runs.kinds import build
from tfp_bruno.training.accumulation import accumulated_gradients
from tfp_bruno.training.tasks import make_task

__all__ = ['Trainer']


class Trainer:
    """A model with its optimiser, its averaged weights and its checkpoints.

    Attributes:
        model: The model that is trained: a `ConditionalBruno` or a deep baseline.
        averaged_model: A second model with the moving averages of the weights, which evaluation and reconstruction use.
        step: `tf.Variable`, number of steps taken.
        seconds: `tf.Variable`, time that the loop has taken, over all resumptions.
        rate_factor: Factor of the learning rate of the settings.
    """

    def __init__(self, model_settings, settings, strategy=None):
        """Creates all variables.

        Args:
            model_settings: Settings of a kind of model, see `tfp_bruno.runs.kinds`.
            settings: `TrainingSettings`, whose objective fits that kind.
            strategy: A `tf.distribute.Strategy`. Default value: `None`, the current one.
        """
        self.settings = settings
        self.rate_factor = 1.0
        self.strategy = strategy or tf.distribute.get_strategy()
        self._task = make_task(settings)
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
            # Now, not in the first step: there, mirrored ones cannot be made.
            self._optimizer._create_all_weights(self._variables)
        self.checkpoint = tf.train.Checkpoint(
            model=tf.train.Checkpoint(variables=list(self._variables)),
            averaged_model=tf.train.Checkpoint(variables=list(self.averaged_model.variables)),
            optimizer=self._optimizer,
            step=self.step,
            seconds=self.seconds,
        )

    def initialize(self, volumes, poses, subjects=None, overwrite_volumes=False):
        """Starts the model in closed form, or from what it wants of the training data.

        Args:
            volumes: float32 array `[N, K, H, W, C]` in (0, 1), see `starting_volumes`.
            poses: float32 array `[K, P]`.
            subjects: Integers `[N]`, the subject that each volume is of. Default value: `None`, each its own.
            overwrite_volumes: Whether `volumes` may be lost, which saves memory. Default value: `False`.
        """
        self._task.initialize(self.model, volumes, poses, subjects, overwrite_volumes)
        self.copy_to_average()

    def restore(self, path):
        """Restores the state that `checkpoint` saved under a path."""
        self.checkpoint.read(path).assert_existing_objects_matched()
        for variable, average in zip(self.model.variables, self.averaged_model.variables, strict=True):
            if not variable.trainable:
                variable.assign(average)

    def copy_to_average(self):
        """Makes the averaged model equal to the trained one."""
        for average, variable in zip(self.averaged_model.variables, self.model.variables, strict=True):
            average.assign(variable)

    # Nothing in a step needs AutoGraph, whose conversion would take half the time of the first step.
    @tf.function(autograph=False)
    def _train_step(self, images, poses, schedule, decay, seed):
        self._optimizer.learning_rate.assign(schedule['learning_rate'])
        parts = self.strategy.run(self._replica_step, args=(images, poses, schedule, seed))
        for average, variable in zip(self.averaged_model.trainable_variables, self._variables, strict=True):
            average.assign_sub((1.0 - decay) * (average - variable))
        self.step.assign_add(1)
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.MEAN, part, axis=None) for name, part in parts.items()
        }

    def _replica_step(self, images, poses, schedule, seed):
        loss = self._task.draw_loss(self.model, schedule, seed)
        parts, gradients = accumulated_gradients(loss, self._variables, (images, poses), self.settings.micro_batches)
        # The optimiser adds up the replicas'.
        gradients = [gradient / self.strategy.num_replicas_in_sync for gradient in gradients]
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return parts

    def check_finite(self):
        """Raises a `FloatingPointError` if a weight is no longer finite."""
        for variable in (*self._variables, *self.averaged_model.trainable_variables):
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                raise FloatingPointError(f'the weights are not finite after step {int(self.step)}')

    def progress(self):
        """Returns the share of the run that is done: of the steps, or of the time where that is nearer to its end."""
        by_steps = int(self.step) / self.settings.steps
        limit = 60.0 * self.settings.max_minutes
        return max(by_steps, float(self.seconds) / limit) if limit > 0 else by_steps

    def train(self, sequences):
        """Takes steps until the run is done.

        Args:
            sequences: `tf.data.Dataset` of (images, poses), see `make_sequences`; batches are split over the devices.

        Yields:
            After each step, `(step, parts)`: the number of steps taken and a dict of scalar tensors, as
            the loss of the model's kind names them.

        Raises:
            FloatingPointError: if the loss is no longer finite.
        """
        iterator = iter(self.strategy.experimental_distribute_dataset(sequences))
        step, seconds = int(self.step), float(self.seconds)
        while self.progress() < 1.0:
            began = time.monotonic()
            images, poses = next(iterator)
            schedule = self._task.schedule(self.progress(), step)
            schedule['learning_rate'] *= self.rate_factor
            schedule = {name: tf.constant(value, tf.float32) for name, value in schedule.items()}
            # The average forgets the untrained weights first: its memory grows with the run.
            decay = min(self.settings.average_decay, (1.0 + step) / (10.0 + step))
            # All randomness of a step follows from the seed and the step.
            seed = tf.constant([self.settings.seed % 2**31, step], tf.int32)
            parts = self._train_step(images, poses, schedule, tf.constant(decay, tf.float32), seed)
            if not math.isfinite(float(parts['loss'])):
                raise FloatingPointError(f'the loss is not finite at step {step}')
            step += 1
            seconds += time.monotonic() - began
            self.seconds.assign(seconds)
            yield step, parts
