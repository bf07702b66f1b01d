"""Settings of a training run, and the presets."""

import dataclasses

from tfp_bruno.bijectors import GlowSettings, RealNVPSettings
from tfp_bruno.models.initialize import StartSettings
from tfp_bruno.training.augmentation import AugmentationSettings
from tfp_bruno.training.bound import BoundSettings
from tfp_bruno.training.objectives import ObjectiveSettings

__all__ = ['PRESETS', 'Preset', 'TrainingSettings']


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        steps: Number of optimisation steps.
        max_minutes: Time limit of the training loop; the learning rate then follows the clock. 0 for none.
        batch_size: Sequences (subjects) in a step, over all devices together.
        micro_batches: Parts that a batch is worked off in, one after the other: more of them need less memory.
        sequence_length: Slices of a sequence, M.
        common_slices: Whether all sequences of a batch are drawn at the same positions: a factor process then takes
            the products of its loadings once for all of them.
        learning_rate: Peak learning rate of Adam.
        warmup_steps: Steps over which the learning rate rises from 0; then it falls as a half cosine.
        clip_norm: Bound of the global norm of the gradient.
        average_decay: Decay of the exponential moving average of the weights.
        evaluate_every: Steps between two points of the learning curve on held-out subjects; a checkpoint is written
            then, too.
        seed: Seed of weights and data.
        objective: `ObjectiveSettings`, or `BoundSettings` for a deep baseline.
        augmentation: `AugmentationSettings`.
        start: `StartSettings`, how the model is started in closed form.
        start_volumes: Volumes that it is started from; augmented copies of the subjects make up the number.
    """

    steps: int = 2000
    max_minutes: float = 0.0
    batch_size: int = 4
    micro_batches: int = 1
    sequence_length: int = 9
    common_slices: bool = False
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 1.0
    average_decay: float = 0.998
    evaluate_every: int = 100
    seed: int = 0
    objective: ObjectiveSettings | BoundSettings = dataclasses.field(default_factory=ObjectiveSettings)
    augmentation: AugmentationSettings = dataclasses.field(default_factory=AugmentationSettings)
    start: StartSettings = dataclasses.field(default_factory=StartSettings)
    start_volumes: int = 0

    def to_json(self):
        """Returns the settings as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values, objective=ObjectiveSettings):
        """Returns the settings that `to_json` described; `objective` is the class of their objective."""
        nested = {
            'objective': objective(**values['objective']),
            'augmentation': AugmentationSettings(**values['augmentation']),
            'start': StartSettings(**values['start']),
        }
        return cls(**{**values, **nested})


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model and a way to train it.

    Attributes:
        model: Arguments of `ModelSettings` beside the sizes of the images.
        training: `TrainingSettings`.
    """

    model: dict
    training: TrainingSettings


# A small margin at both ends of the logit leaves the background clean and the inside sharp.
_FLOW = GlowSettings(pose_width=3.0, every_step=False, alpha=0.08)

_CPU = Preset(
    # In minutes, more maps to learn take more from the closed-form start than they give.
    model={
        'process': 'factor',
        'law': 'student_t',
        'flow': _FLOW,
        'factors': 600,
        'kernel': 'squared_exponential',
        # The radius takes the inflation back, which is the residual's.
        'narrows_factors': False,
        # Training narrows what samples differ in, and pixels err together: for trainings of this length, see
        # "Sampling width" in docs/design_notes.md; `make demo` has those of a few minutes.
        'factor_scale': 1.9,
        'factor_evidence': 1 / 16,
    },
    training=TrainingSettings(
        steps=20_000,
        max_minutes=50.0,
        common_slices=True,
        learning_rate=3e-4,
        warmup_steps=300,
        average_decay=0.999,
        evaluate_every=500,
        objective=ObjectiveSettings(
            joint=0.0,
            conditional=0.01,
            structural=1.0,
            # With few contexts, what SSIM gains over whole slices it loses inside the mask, and the other way round.
            foreground_share=0.4,
            # Whole slices' SSIM would make the mean brain too small, and cost it correlation.
            prior_squared_error=300.0,
            prior_decay=3.5,
            context_power=2.0,
            prior_every=4,
            # The likelihood of two steadies the model as well as that of all, in four fifths of the time.
            scored_targets=2,
        ),
        # Brains differ in size and place more than a few templates show.
        augmentation=AugmentationSettings(probability=0.9, displacement=2.0, scaling=0.05, shear=0.035, shift=2.5),
        start=StartSettings(inflation=12.0),
        start_volumes=4000,
    ),
)
_GPU_TRAINING = dataclasses.replace(
    _CPU.training, steps=40_000, max_minutes=0.0, batch_size=32, warmup_steps=1000, evaluate_every=1000
)

PRESETS = {
    'cpu': _CPU,
    # The same recipe with a flow of more and wider networks, and larger batches.
    'gpu': Preset(
        model={
            **_CPU.model,
            'flow': dataclasses.replace(_FLOW, couplings=(4, 8), filters=(96, 192), num_blocks=2),
        },
        training=_GPU_TRAINING,
    ),
    # The paper's: 64 x 64, sequences of nine, one-hot pose, likelihood alone, the flow of Conditional BRUNO; for GPUs.
    'paper': Preset(
        model={'process': 'exchangeable', 'law': 'student_t', 'flow': RealNVPSettings()},
        training=TrainingSettings(
            steps=100_000, batch_size=32, micro_batches=4, warmup_steps=1000, average_decay=0.9995, evaluate_every=1000
        ),
    ),
}
