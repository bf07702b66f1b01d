"""What the training loop asks about a kind of model: its start, its loss, its schedules."""

import dataclasses

import tensorflow as tf

from tfp_bruno.models import initialize_model
from tfp_bruno.runs import BoundSettings
from tfp_bruno.training.bound import bound_loss, prediction_error
from tfp_bruno.training.objectives import training_loss
from tfp_bruno.training.schedules import learning_rate_at, linear_rate_at, pixel_std_at

__all__ = ['BoundTask', 'LikelihoodTask', 'make_task']

_HELD_OUT_CONTEXTS = 4


class LikelihoodTask:
    """A `ConditionalBruno`, which has an exact likelihood."""

    beta_2 = 0.99

    def __init__(self, settings):
        """Takes the `TrainingSettings`, with `ObjectiveSettings`."""
        self.settings = settings

    @property
    def prior_every(self) -> int:
        """Every so many steps the volumes are not augmented; 0 for never."""
        return self.settings.objective.prior_every

    def initialize(self, model, volumes, poses, subjects=None, overwrite_volumes=False):
        """Starts a model from volumes `[N, K, H, W, C]` in (0, 1) of `subjects` `[N]`, and poses `[K, P]`."""
        initialize_model(model, volumes, poses, self.settings.start, subjects, overwrite_volumes)

    def schedule(self, progress, step):
        """Returns the numbers that change with the progress of the run and the steps taken, a dict of `float`."""
        is_prior = self.prior_every > 0 and step % self.prior_every == 0
        return {'learning_rate': learning_rate_at(progress, step, self.settings), 'is_prior': float(is_prior)}

    def draw_loss(self, model, schedule, seed):
        """Draws what is random about a step.

        Args:
            model: The model.
            schedule: Dict of scalar tensors, see `schedule`.
            seed: int32 `Tensor` `[2]`, the stateless seed of the step.

        Returns:
            Callable from images `[B, M, H, W, C]` and poses `[B, M, P]` to a scalar loss and its parts, a dict.
        """
        objective = self.settings.objective
        most = min(objective.max_contexts, self.settings.sequence_length - 1)
        least = 1 if objective.prior_every else 0
        drawn = tf.random.stateless_uniform([], seed) ** objective.context_power
        num_contexts = tf.minimum(least + tf.cast((most + 1.0 - least) * drawn, tf.int32), most)
        num_contexts = tf.where(schedule['is_prior'] > 0.0, 0, num_contexts)

        def loss(images, poses):
            poses = poses[0] if self.settings.common_slices else poses
            return training_loss(model, images, poses, objective, num_contexts)

        return loss

    def held_out(self, model, images, poses):
        """Returns the parts of the loss with four contexts, the same every time."""
        contexts = tf.constant(min(_HELD_OUT_CONTEXTS, self.settings.sequence_length - 1))
        # Of all targets, whatever training scores.
        objective = dataclasses.replace(self.settings.objective, scored_targets=None)
        return training_loss(model, images, poses, objective, contexts)[1]


class BoundTask:
    """A deep baseline, which has a lower bound of its likelihood; the methods are those of `LikelihoodTask`."""

    beta_2 = 0.999
    prior_every = 0

    def __init__(self, settings):
        """Takes the `TrainingSettings`, with `BoundSettings`."""
        self.settings = settings

    def initialize(self, model, volumes, poses, subjects=None, overwrite_volumes=False):
        """Takes mean images, where the model wants any."""
        model.initialize(volumes, poses)

    def schedule(self, progress, step):
        """Returns learning rate and standard deviation of the pixels."""
        objective = self.settings.objective
        rate = linear_rate_at(step, self.settings) if objective.rate_steps else None
        return {
            'learning_rate': learning_rate_at(progress, step, self.settings) if rate is None else rate,
            'pixel_std': pixel_std_at(progress, step, objective),
        }

    def draw_loss(self, model, schedule, seed):
        """Draws the seed of the latent variables; the number of contexts is drawn for each sequence."""
        objective = self.settings.objective
        latent_seed, number_seed = tf.unstack(tf.random.split(seed))

        def loss(images, poses):
            number = tf.random.stateless_uniform(
                tf.shape(images)[:1], number_seed, objective.min_contexts, objective.max_contexts + 1, tf.int32
            )
            return bound_loss(model, images, poses, objective.max_contexts, number, schedule['pixel_std'], latent_seed)

        return loss

    def held_out(self, model, images, poses):
        """Returns loss and parts with four contexts and the last standard deviation, and the error of the prediction.

        'squared_error' is that of a reconstruction, whose latent variables have seen the query;
        'prediction_error' that of the mean image given the contexts alone.
        """
        objective = self.settings.objective
        number = tf.fill(tf.shape(images)[:1], min(_HELD_OUT_CONTEXTS, objective.max_contexts))
        seed = tf.constant([0, 1])
        inputs = (model, images, poses, objective.max_contexts, number)
        loss, parts = bound_loss(*inputs, objective.last_std, seed)
        return {'loss': loss, **parts, 'prediction_error': prediction_error(*inputs)}


def make_task(settings):
    """Returns the task of `TrainingSettings`, which their objective decides."""
    return (BoundTask if isinstance(settings.objective, BoundSettings) else LikelihoodTask)(settings)
