"""What the training loop needs for each kind of model: start, loss and schedules."""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfp_bruno.baselines.deep import ContextModel
from tfp_bruno.models import ConditionalBruno, initialize_model
from tfp_bruno.networks.data_dependent_init import mean_over_replicas
from tfp_bruno.runs import BoundSettings, ObjectiveSettings, TrainingSettings
from tfp_bruno.training.objectives import bound_loss, foreground_size, prediction_error, training_loss

# From images `[B, M, H, W, C]` and poses `[B, M, P]` to a scalar loss and its parts.
Loss: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, dict[str, tf.Tensor]]]

_HELD_OUT_CONTEXTS = 4
# Share of the peak learning rate at the end of the schedule of a Generative Query Network.
_LAST_SHARE = 0.1
# Share of the run over which the pixels' standard deviation falls, unless a number of steps is set.
_ANNEALED_SHARE = 0.5


class LikelihoodTask:
    """The training of a `ConditionalBruno`, which has an exact likelihood."""

    beta_2 = 0.99

    def __init__(self, settings: TrainingSettings[ObjectiveSettings]) -> None:
        self.settings = settings

    @property
    def prior_every(self) -> int:
        """Interval of the steps without contexts, whose volumes are not augmented; 0 for none."""
        return self.settings.objective.prior_every

    def initialize(
        self,
        model: ConditionalBruno,
        volumes: np.ndarray,
        poses: np.ndarray,
        subjects: np.ndarray | None = None,
        overwrite_volumes: bool = False,
    ) -> None:
        """Fits a model in closed form.

        Args:
            model: The model.
            volumes: `[N, K, H, W, C]` in (0, 1).
            poses: `[K, P]`.
            subjects: Subject of each volume, integers `[N]`; `None`: each its own.
            overwrite_volumes: Whether `volumes` may be overwritten, which saves memory.
        """
        initialize_model(model, volumes, poses, self.settings.start, subjects, overwrite_volumes)

    @property
    def num_held_out_contexts(self) -> int:
        """Number of contexts of the held-out loss: four, or as many as a sequence has besides one target."""
        return min(_HELD_OUT_CONTEXTS, self.settings.sequence_length - 1)

    def num_contexts_at(self, step: int) -> int:
        """Returns the number of contexts of a step, drawn from the seed and the step."""
        objective = self.settings.objective
        if self.prior_every and step % self.prior_every == 0:
            return 0
        most = min(objective.max_contexts, self.settings.sequence_length - 1)
        least = 1 if self.prior_every else min(objective.min_contexts, most)
        drawn = np.random.default_rng([self.settings.seed, step]).random() ** objective.context_power
        return min(least + int((most + 1 - least) * drawn), most)

    def schedule(self, progress: float, step: int) -> dict[str, float]:
        """Returns the scheduled values of a step, by name.

        Args:
            progress: Share of the run that is done, in [0, 1].
            step: Number of steps taken.
        """
        return {
            'learning_rate': learning_rate_at(progress, step, self.settings),
            'num_contexts': float(self.num_contexts_at(step)),
        }

    def draw_loss(
        self, model: ConditionalBruno, schedule: dict[str, tf.Tensor], seed: tf.Tensor, images: tf.Tensor
    ) -> Loss:
        """Returns the loss of a step for parts of a batch; the mean of those of all parts is that of the batch.

        Args:
            model: The model.
            schedule: Scalars, see `schedule`.
            seed: Without effect.
            images: Images of this replica, in as many parts as there are `micro_batches`.
        """
        del seed
        num_contexts = tf.cast(schedule['num_contexts'], tf.int32)
        foreground = None
        if self.settings.objective.structural > 0:
            foreground = mean_over_replicas(foreground_size(images[:, num_contexts:])) / self.settings.micro_batches

        def loss(images: tf.Tensor, poses: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            poses = poses[0] if self.settings.common_slices else poses
            return training_loss(model, images, poses, self.settings.objective, num_contexts, foreground)

        return loss

    def held_out(self, model: ConditionalBruno, images: tf.Tensor, poses: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the loss and its parts with four contexts, for all targets."""
        contexts = tf.constant(self.num_held_out_contexts)
        objective = dataclasses.replace(self.settings.objective, scored_targets=None)
        loss, parts = training_loss(model, images, poses, objective, contexts)
        return {'loss': loss, **parts}


class BoundTask:
    """The training of a deep baseline, which has a lower bound of its likelihood; methods as in `LikelihoodTask`."""

    beta_2 = 0.999
    prior_every = 0

    def __init__(self, settings: TrainingSettings[BoundSettings]) -> None:
        self.settings = settings

    def initialize(
        self,
        model: ContextModel,
        volumes: np.ndarray,
        poses: np.ndarray,
        subjects: np.ndarray | None = None,
        overwrite_volumes: bool = False,
    ) -> None:
        """Sets the mean images of a model that uses them."""
        model.initialize(volumes, poses)

    def schedule(self, progress: float, step: int) -> dict[str, float]:
        """Returns the learning rate and the standard deviation of the pixels."""
        objective = self.settings.objective
        rate = (
            linear_rate_at(step, self.settings)
            if objective.rate_steps
            else learning_rate_at(progress, step, self.settings)
        )
        return {'learning_rate': rate, 'pixel_std': pixel_std_at(progress, step, objective)}

    def draw_loss(
        self, model: ContextModel, schedule: dict[str, tf.Tensor], seed: tf.Tensor, images: tf.Tensor
    ) -> Loss:
        """Draws the seed of the latent variables; the loss draws a number of contexts for each sequence."""
        del images
        objective = self.settings.objective
        latent_seed, number_seed = tf.unstack(tf.random.split(seed))

        def loss(images: tf.Tensor, poses: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            number = tf.random.stateless_uniform(
                tf.shape(images)[:1], number_seed, objective.min_contexts, objective.max_contexts + 1, tf.int32
            )
            return bound_loss(model, images, poses, objective.max_contexts, number, schedule['pixel_std'], latent_seed)

        return loss

    def held_out(self, model: ContextModel, images: tf.Tensor, poses: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the loss and its parts with four contexts and the last standard deviation.

        'squared_error' is the error of a reconstruction, whose latent variables depend on the query;
        'prediction_error' that of the mean image given the contexts alone.
        """
        objective = self.settings.objective
        number = tf.fill(tf.shape(images)[:1], min(_HELD_OUT_CONTEXTS, objective.max_contexts))
        seed = tf.constant([0, 1])
        inputs = (model, images, poses, objective.max_contexts, number)
        loss, parts = bound_loss(*inputs, objective.last_std, seed)
        return {'loss': loss, **parts, 'prediction_error': prediction_error(*inputs)}


def make_task(settings: TrainingSettings) -> LikelihoodTask | BoundTask:
    """Returns the task that the objective of some settings belongs to."""
    return BoundTask(settings) if isinstance(settings.objective, BoundSettings) else LikelihoodTask(settings)


def learning_rate_at(progress: float, step: int, settings: TrainingSettings) -> float:
    """Returns the learning rate: a linear warm-up, then a half cosine down to 1 % of the peak.

    Args:
        progress: Share of the run that is done, in [0, 1].
        step: Number of steps taken.
        settings: Peak and warm-up.
    """
    warm_up = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.learning_rate * warm_up * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))


def linear_rate_at(step: int, settings: TrainingSettings[BoundSettings]) -> float:
    """Returns the learning rate of a Generative Query Network: it falls linearly from the peak to a tenth of it.

    Args:
        step: Number of steps taken.
        settings: Peak, and an objective whose `rate_steps` are above 0.
    """
    share = min(1.0, step / settings.objective.rate_steps)
    return settings.learning_rate * (1.0 - (1.0 - _LAST_SHARE) * share)


def pixel_std_at(progress: float, step: int, objective: BoundSettings) -> float:
    """Returns the pixels' standard deviation: it falls linearly, then stays constant.

    Args:
        progress: Share of the run that is done, in [0, 1].
        step: Number of steps taken.
        objective: First and last value, and the steps between them.
    """
    share = step / objective.std_steps if objective.std_steps else progress / _ANNEALED_SHARE
    return objective.first_std + (objective.last_std - objective.first_std) * min(1.0, share)
