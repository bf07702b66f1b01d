"""Settings of the training of a model."""

import dataclasses
from typing import Annotated, Generic, Literal, TypeVar

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from tfp_bruno.models import StartSettings
from tfp_bruno.settings import STRICT, Count, NonNegative, Positive, Share, WholeNumber

Objective = TypeVar('Objective', 'ObjectiveSettings', 'BoundSettings')


@dataclass(frozen=True, config=STRICT)
class ObjectiveSettings:
    """Weights of the terms of the training loss of a `ConditionalBruno`.

    Attributes:
        joint: Weight of the joint negative log-likelihood per dimension.
        conditional: Weight of the negative log-likelihood of targets given contexts per dimension.
        structural: Weight of 1 - SSIM of the decoded predictive mean.
        foreground_share: Weight of the foreground in that SSIM; whole slices have the rest.
        squared_error: Weight of the squared error of the decoded predictive mean.
        prior_squared_error: The same weight without contexts; None for `squared_error`.
        prior_decay: Exponent d of the weight with n contexts, which is
            `squared_error + (prior_squared_error - squared_error) / (1 + n)^d`; None for `squared_error` from one
            context on.
        max_contexts: Largest number of contexts in training.
        min_contexts: Least number of contexts in training, without `prior_every`.
        context_power: Exponent of the uniform random number that the number of contexts is proportional to: with 1 all
            numbers are equally frequent, above 1 small ones are more frequent.
        prior_every: Interval of the steps without contexts, whose volumes are not augmented, since the mean of
            augmented volumes is more blurred than the mean of the subjects; all other steps have at least one context.
            0: the least number is `min_contexts`.
        scored_targets: Largest number of targets in the conditional likelihood. Without a weight of `joint`, no others
            are encoded; the terms of the decoded mean still include all. None for all.
        independent_targets: Whether the conditional likelihood scores each target by itself, as in the code of
            Conditional BRUNO, not all targets jointly.
    """

    joint: NonNegative = 1.0
    conditional: NonNegative = 0.0
    structural: NonNegative = 0.0
    foreground_share: Share = 0.5
    squared_error: NonNegative = 0.0
    prior_squared_error: NonNegative | None = None
    prior_decay: NonNegative | None = None
    max_contexts: Count = 8
    min_contexts: WholeNumber = 0
    context_power: Positive = 1.0
    prior_every: WholeNumber = 0
    scored_targets: Count | None = None
    independent_targets: bool = False


@dataclass(frozen=True, config=STRICT)
class BoundSettings:
    """Contexts, pixels and schedules of a deep baseline; the defaults are those of the Generative Query Network.

    Attributes:
        first_std: Standard deviation of the pixels at the start of the training; images lie in [0, 1].
        last_std: The same at the end of the training, and in every evaluation.
        std_steps: Steps over which the standard deviation falls linearly; 0 for the first half of the run.
        rate_steps: Steps over which the learning rate falls linearly to a tenth; 0 for a warm-up and a half cosine
            that ends with the run.
        min_contexts: Least number of contexts in training.
        max_contexts: Largest number of contexts in training; the rest of a sequence are the queries.
    """

    first_std: Positive = 2.0
    last_std: Positive = 0.7
    std_steps: WholeNumber = 200_000
    rate_steps: WholeNumber = 1_600_000
    min_contexts: WholeNumber = 0
    max_contexts: Count = 4

    def __post_init__(self) -> None:
        if self.min_contexts > self.max_contexts:
            raise ValueError(
                f'`min_contexts` must be at most `max_contexts`, {self.max_contexts}, got {self.min_contexts}.'
            )


@dataclass(frozen=True, config=STRICT)
class AugmentationSettings:
    """Random changes of the training volumes; every strength is a standard deviation, and 0 leaves that change out.

    Attributes:
        probability: Share of the sequences that are augmented.
        displacement: Smooth random displacement of every point, mm.
        length: Length scale of the displacement's Gaussian covariance, mm.
        scaling: Relative change of size.
        shear: Entries of the random linear map.
        shift: Shift of the whole volume, mm.
        contrast: Logarithm of the exponent that is applied to the intensities.
        bias: Relative strength of a smooth intensity bias.
    """

    probability: Share = 0.0
    displacement: NonNegative = 2.5
    length: Positive = 28.0
    scaling: NonNegative = 0.03
    shear: NonNegative = 0.02
    shift: NonNegative = 1.5
    contrast: NonNegative = 0.08
    bias: NonNegative = 0.05


@dataclass(frozen=True, config=STRICT)
class TrainingSettings(Generic[Objective]):
    """Settings of the training of a model.

    Attributes:
        steps: Number of optimisation steps.
        max_minutes: Time limit of the training loop; the learning rate then follows the clock. 0 for none.
        batch_size: Sequences (subjects) in a step, over all devices together.
        micro_batches: Number of parts of a batch that are computed one after the other; more parts need less memory.
        sequence_length: Slices of a sequence, M.
        poses: Slices of the training: 'stack', planes of the scanner, or, for a model of a canonical volume, 'rigid':
            random planes of any direction.
        common_slices: Whether all sequences of a batch have the same poses; a factor process then computes the
            products of its loadings once for all of them.
        learning_rate: Peak learning rate of Adam.
        warmup_steps: Steps over which the learning rate rises from 0; then it falls as a half cosine.
        clip_norm: Bound of the global norm of the gradient.
        average_decay: Decay of the exponential moving average of the weights.
        evaluate_every: Steps between two points of the learning curve, which has the loss of the validation subjects;
            each writes a checkpoint.
        validation_share: Share of the training subjects that are left out for validation, whole templates or families
            of them where `participants.tsv` names these; 0 for none. With fewer than 10 training subjects none are
            left out. Does not apply where the split of the data has validation subjects.
        keep_best: Whether the run hands on the averaged weights with the least loss of the validation subjects, among
            them those of the closed-form start, not the last ones. Without validation subjects it hands on the last
            ones.
        fits_residual: Whether, at the end, the variance of a factor process' residual is multiplied by the number that
            makes slices of the validation subjects most probable given four others. Without validation subjects it
            stays as it is.
        context_sets: Number of sets of contexts of the training subjects, from which their maps are found; for a model
            of a canonical volume.
        seed: Seed of weights and data, of 31 bits as TensorFlow takes them.
        objective: `ObjectiveSettings`, or `BoundSettings` of a deep baseline.
        augmentation: Random changes of the training volumes.
        start: Settings of the closed-form start.
        start_volumes: Number of volumes of that start: the training subjects, and augmented copies of them. 0 for the
            subjects alone.
    """

    steps: Count = 2000
    max_minutes: NonNegative = 0.0
    batch_size: Count = 4
    micro_batches: Count = 1
    sequence_length: Annotated[int, Ge(2)] = 9
    poses: Literal['stack', 'rigid'] = 'stack'
    common_slices: bool = False
    learning_rate: NonNegative = 1e-3
    warmup_steps: WholeNumber = 100
    clip_norm: Positive = 1.0
    average_decay: Share = 0.998
    evaluate_every: Count = 100
    validation_share: Annotated[float, Ge(0), Le(0.5)] = 0.1
    keep_best: bool = False
    fits_residual: bool = False
    context_sets: Count = 300
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    # A default cannot follow the type parameter: settings of a deep baseline must give their own.
    objective: Objective = dataclasses.field(default_factory=ObjectiveSettings)  # type: ignore[assignment]
    augmentation: AugmentationSettings = dataclasses.field(default_factory=AugmentationSettings)
    start: StartSettings = dataclasses.field(default_factory=StartSettings)
    start_volumes: WholeNumber = 0

    def __post_init__(self) -> None:
        if self.batch_size % self.micro_batches:
            raise ValueError(f'`micro_batches` must divide `batch_size`, {self.batch_size}, got {self.micro_batches}.')
        if isinstance(self.objective, BoundSettings) and self.objective.max_contexts >= self.sequence_length:
            raise ValueError(
                f'`sequence_length` must be above `max_contexts`, {self.objective.max_contexts}, got '
                f'{self.sequence_length}.'
            )
