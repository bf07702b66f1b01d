"""What changes in the course of a training run: learning rates and the pixels' standard deviation."""

import math

__all__ = ['learning_rate_at', 'linear_rate_at', 'pixel_std_at']

# Of the learning rate of a Generative Query Network, at the end of its schedule.
_LAST_SHARE = 0.1
# Of the run, without a number of steps for the pixels' standard deviation.
_ANNEALED_SHARE = 0.5


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


def linear_rate_at(step, settings):
    """Returns the learning rate of a Generative Query Network: from the peak down to a tenth of it in a straight line.

    Args:
        step: `int`, steps taken.
        settings: `TrainingSettings` whose objective has `rate_steps` above 0.

    Returns:
        `float`.
    """
    share = min(1.0, step / settings.objective.rate_steps)
    return settings.learning_rate * (1.0 - (1.0 - _LAST_SHARE) * share)


def pixel_std_at(progress, step, objective):
    """Returns the pixels' standard deviation, which falls in a straight line and then stays.

    Args:
        progress: `float` in [0, 1], share of the run that is done.
        step: `int`, steps taken.
        objective: `BoundSettings`.

    Returns:
        `float`.
    """
    share = step / objective.std_steps if objective.std_steps else progress / _ANNEALED_SHARE
    return objective.first_std + (objective.last_std - objective.first_std) * min(1.0, share)
