"""The training loop, on one device or several."""

import math
import time

import tensorflow as tf
import tf_keras

from tfp_bruno.models import build_model, initialize_model
from tfp_bruno.training.accumulation import accumulated_gradients
from tfp_bruno.training.objectives import training_loss

__all__ = ['Trainer', 'learning_rate_at']


def learning_rate_at(progress, step, settings):
    """Returns the learning rate: a linear warm-up, then a half cosine down to 1 % of the peak.

    Args:
        progress: `float` in [0, 1], share of the run that is done.
        step: `int`, steps taken.
        settings: `TrainingSettings`.

    Returns:
        `float`.
    """
    warm_up = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.learning_rate * warm_up * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))


class Trainer:
    """A model with its optimiser, its averaged weights and its checkpoints.

    Attributes:
        model: The `ConditionalBruno` that is trained.
        averaged_model: Its twin with the moving average of the weights, which evaluation and reconstruction use.
        step: `tf.Variable`, number of steps taken.
        seconds: `tf.Variable`, time that the loop has taken, over all resumptions.
    """

    def __init__(self, model_settings, settings, strategy=None):
        """Creates all variables.

        Args:
            model_settings: `ModelSettings`.
            settings: `TrainingSettings`.
            strategy: A `tf.distribute.Strategy`. Default value: `None`, the current one.
        """
        self.settings = settings
        self.strategy = strategy or tf.distribute.get_strategy()
        # Outside the scope: a mirrored variable cannot be read as a number.
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name='step')
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name='seconds')
        with self.strategy.scope():
            self.model = build_model(model_settings, settings.sequence_length, settings.seed)
            # What is not trained needs no average.
            shared = None if self.model.distribution.trainable_variables else self.model.distribution
            self.averaged_model = build_model(model_settings, settings.sequence_length, settings.seed, shared)
            self._variables = self.model.trainable_variables
            self._optimizer = tf_keras.optimizers.legacy.Adam(
                settings.learning_rate, beta_2=0.99, global_clipnorm=settings.clip_norm
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

    def initialize(self, volumes, poses, subjects=None):
        """Starts the flow and the process in closed form.

        Args:
            volumes: float32 array `[N, K, H, W, C]` in (0, 1), see `starting_volumes`.
            poses: float32 array `[K, P]`.
            subjects: Integers `[N]`, the subject that each volume is of. Default value: `None`, each its own.
        """
        initialize_model(self.model, volumes, poses, self.settings.start, subjects)
        self.copy_to_average()

    def restore(self, path):
        """Restores the state that `checkpoint` saved under a path."""
        self.checkpoint.restore(path).assert_existing_objects_matched()
        for variable, average in zip(self.model.variables, self.averaged_model.variables, strict=True):
            if not variable.trainable:
                variable.assign(average)

    def copy_to_average(self):
        """Makes the averaged model equal to the trained one."""
        for average, variable in zip(self.averaged_model.variables, self.model.variables, strict=True):
            average.assign(variable)

    # Nothing in a step needs AutoGraph, whose conversion would take half the time of the first step.
    @tf.function(autograph=False)
    def _train_step(self, images, poses, learning_rate, decay):
        self._optimizer.learning_rate.assign(learning_rate)
        parts = self.strategy.run(self._replica_step, args=(images, poses))
        for average, variable in zip(self.averaged_model.trainable_variables, self._variables, strict=True):
            average.assign_sub((1.0 - decay) * (average - variable))
        self.step.assign_add(1)
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.MEAN, part, axis=None) for name, part in parts.items()
        }

    def _replica_step(self, images, poses):
        objective = self.settings.objective
        most = min(objective.max_contexts, self.settings.sequence_length - 1)
        num_contexts = tf.random.uniform([], 0, most + 1, tf.int32)
        parts, gradients = accumulated_gradients(
            lambda images, poses: training_loss(self.model, images, poses, objective, num_contexts),
            self._variables,
            (images, poses),
            self.settings.micro_batches,
        )
        # The optimiser adds up the replicas'.
        gradients = [gradient / self.strategy.num_replicas_in_sync for gradient in gradients]
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return parts

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
            `training_loss` names them.

        Raises:
            FloatingPointError: if the loss is no longer finite.
        """
        iterator = iter(self.strategy.experimental_distribute_dataset(sequences))
        step, seconds = int(self.step), float(self.seconds)
        while self.progress() < 1.0:
            began = time.monotonic()
            images, poses = next(iterator)
            rate = learning_rate_at(self.progress(), step, self.settings)
            # The average forgets the untrained weights first: its memory grows with the run.
            decay = min(self.settings.average_decay, (1.0 + step) / (10.0 + step))
            parts = self._train_step(images, poses, tf.constant(rate, tf.float32), tf.constant(decay, tf.float32))
            if not math.isfinite(float(parts['loss'])):
                raise FloatingPointError(f'the loss is not finite at step {step}')
            step += 1
            seconds += time.monotonic() - began
            self.seconds.assign(seconds)
            yield step, parts
