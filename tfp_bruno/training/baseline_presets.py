"""The presets of the deep baselines."""

import dataclasses

from tfp_bruno.training.augmentation import AugmentationSettings
from tfp_bruno.training.bound import BoundSettings
from tfp_bruno.training.settings import TrainingSettings

__all__ = ['BASELINE_PRESETS', 'BaselinePreset']


@dataclasses.dataclass(frozen=True)
class BaselinePreset:
    """A deep baseline and a way to train it.

    Attributes:
        model: Settings of the model, but for the sizes that the data decide.
        training: `TrainingSettings` with `BoundSettings`.
    """

    model: dict
    training: TrainingSettings


# Poses as positions, deviations from the mean image, and an average of the contexts: with the papers' own choices,
# minutes are not enough to learn where the background is.
_CPU_MODEL = {'aggregation': 'mean', 'pose_encoding': 'fourier', 'centred': True}


def _cpu_training(pixel_std):
    """Returns the training with at most eight contexts, and four queries.

    With a small `pixel_std` the latent variables take over what the contexts could tell; with a large one there is
    nothing left for them.
    """
    return TrainingSettings(
        steps=100_000,
        max_minutes=30.0,
        batch_size=6,
        sequence_length=12,
        learning_rate=1e-3,
        clip_norm=1000.0,
        objective=BoundSettings(first_std=pixel_std, last_std=pixel_std, std_steps=0, rate_steps=0, max_contexts=8),
        augmentation=AugmentationSettings(probability=0.9),
    )


# Four contexts and one query, as in Hou et al.
_PAPER_TRAINING = TrainingSettings(
    steps=2_000_000,
    batch_size=36,
    sequence_length=5,
    learning_rate=5e-4,
    clip_norm=1e6,
    average_decay=0.9995,
    evaluate_every=1000,
    objective=BoundSettings(min_contexts=4, max_contexts=4),
)

BASELINE_PRESETS = {
    'gqn': {
        'cpu': BaselinePreset(
            {
                **_CPU_MODEL,
                'representation_channels': 64,
                'steps': 4,
                'hidden_channels': 32,
                'canvas_channels': 16,
                'latent_channels': 3,
                'kernel_size': 3,
            },
            _cpu_training(0.3),
        ),
        # The defaults of the model are those of its paper.
        'paper': BaselinePreset({}, _PAPER_TRAINING),
    },
    'cvae': {
        'cpu': BaselinePreset(
            {**_CPU_MODEL, 'representation_channels': 64, 'filters': (16, 32, 64, 128), 'latent_size': 64},
            # Its prior knows no contexts, so its latent variables take over sooner.
            _cpu_training(0.7),
        ),
        'paper': BaselinePreset({}, dataclasses.replace(_PAPER_TRAINING, steps=500_000)),
    },
}
