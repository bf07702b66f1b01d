"""The paper's clinical use (Hou et al. 2019, section 3.3): start volumes of an anatomy that moved between slices."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging
from scipy import ndimage

from tfp_bruno import baselines
from tfp_bruno.contracts import CompletionModel, Predictor
from tfp_bruno.data import FOREGROUND_THRESHOLD, Population
from tfp_bruno.errors import UserError, warn
from tfp_bruno.evaluation.batch_starts import (
    Batch,
    PlacedVolume,
    centring,
    choose_batch,
    complete_batch,
    make_batch,
    mean_place,
    mean_start,
    place_batch,
)
from tfp_bruno.evaluation.comparison import label_runs
from tfp_bruno.evaluation.metrics import average_scores
from tfp_bruno.evaluation.start_volumes import AVERAGE, Row, score_inside, score_starts, score_subjects
from tfp_bruno.motion import (
    ArtefactSettings,
    MotionSettings,
    RegistrationSettings,
    SimulatedStacks,
    StackProtocol,
    gaussian_average,
    identity_transforms,
    simulate_stacks,
)
from tfp_bruno.motion.protocol import STACK_AXES

UNMASKED = f'{AVERAGE}, unmasked'
MEAN, NEIGHBOURS, COMPLETION = 'training mean', 'deformed neighbours', 'completion'
NOISE = 0.03
# Of the offsets at which a batch is tried, mm.
STEP = 2.0


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition of the experiment.

    Attributes:
        translation: Largest translation of a batch along each axis, mm.
        rotation: Largest rotation about each axis, degrees.
        num_cycles: Of registration and averaging; with 0 the start volumes alone are scored.
    """

    translation: float
    rotation: float
    num_cycles: int


# The first is the paper's.
CONDITIONS = (Condition(10.0, 0.0, 0), Condition(10.0, 10.0, 3), Condition(20.0, 10.0, 3))


@dataclasses.dataclass(frozen=True)
class StartExample:
    """The start volumes of one subject, for the figure.

    Attributes:
        name: The subject.
        condition: Its motion.
        volumes: `[X, Y, Z]` by name in the place of the truth, which is the first.
        spacing: Sides of a voxel, mm.
    """

    name: str
    condition: Condition
    volumes: Mapping[str, np.ndarray]
    spacing: np.ndarray


@dataclasses.dataclass(frozen=True)
class MotionExperiment:
    """The results.

    Attributes:
        rows: Scores of each subject, start and cycle, see `score_starts`; also `translation`, `rotation`, `subject`.
        num_subjects: Subjects that were tried.
        noise: Deviation of the noise, as a share of the mean intensity of the anatomy.
        batch_size: Slices of a batch.
        num_contexts: Those behind the completions, of each subject and condition: the slices that show enough.
        seed: Seed of motion and noise.
        example: The first subject, under the first condition.
    """

    rows: Sequence[Row]
    num_subjects: int
    noise: float
    batch_size: int
    num_contexts: Sequence[int]
    seed: int
    example: StartExample

    def averages(self) -> list[Row]:
        """Returns averages over subjects for each condition, start and cycle, and `subjects`, their number."""
        groups: dict[tuple[str | int | float, ...], list[dict[str, float]]] = {}
        keys = ('translation', 'rotation', 'start', 'cycle')
        for row in self.rows:
            scores = {name: float(value) for name, value in row.items() if name not in (*keys, 'subject')}
            groups.setdefault(tuple(row[key] for key in keys), []).append(scores)
        return [
            {**dict(zip(keys, group, strict=True)), **average_scores(found), 'subjects': len(found)}
            for group, found in groups.items()
        ]


@dataclasses.dataclass(frozen=True)
class _Subject:
    """What the scores of one subject need, without TensorFlow, so that they can be computed in another process."""

    truth: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    simulated: SimulatedStacks
    batch: Batch
    made: Mapping[str, PlacedVolume]
    neighbours: Predictor | None

    def starts(self) -> dict[str, PlacedVolume]:
        """Returns all start volumes in the world of the scanner. The neighbours take seconds, and are made here."""
        if self.neighbours is None:
            return dict(self.made)
        neighbours = complete_batch(self.batch, self.neighbours, self.truth.shape[2])
        return {MEAN: self.made[MEAN], NEIGHBOURS: neighbours, **self.made}

    def placed(self, starts: Mapping[str, PlacedVolume]) -> dict[str, np.ndarray]:
        """Returns start volumes where the truth lies."""
        return {name: start.moved(start.motion, self.truth.shape, self.affine) for name, start in starts.items()}

    def average(self, within_masks: bool) -> np.ndarray:
        """Returns the Gaussian average of the slices as they were acquired."""
        stacks = self.simulated.stacks
        transforms = identity_transforms(stacks)
        return gaussian_average(stacks, transforms, self.truth.shape, self.affine, within_masks=within_masks)

    def score(self, condition: Condition, settings: RegistrationSettings) -> list[Row]:
        """Returns the rows of the subject."""
        starts, average = self.starts(), self.average(True)
        centred = {
            name: start.moved(centring(start, average, self.affine), self.truth.shape, self.affine)
            for name, start in starts.items()
        }
        unmasked = score_inside(self.truth, self.average(False), self.mask)
        own = (self.truth, self.mask, self.affine, centred, self.simulated)
        rows = score_starts(*own, condition.num_cycles, settings, self.placed(starts))
        motion: Row = {'translation': condition.translation, 'rotation': condition.rotation}
        first: Row = {'start': UNMASKED, 'cycle': 0, **unmasked}
        return [{**motion, **row} for row in [first, *rows]]


def name_completions(
    models: Sequence[CompletionModel], run_dirs: Sequence[str | os.PathLike]
) -> dict[str, CompletionModel]:
    """Names the completions of several runs.

    Args:
        models: The model of each run, at least one.
        run_dirs: The folders.

    Returns:
        The models by name: 'completion', for several runs followed by the model.

    Raises:
        UserError: If the runs are of different datasets, or one is given twice.
    """
    if len({os.path.realpath(run_dir) for run_dir in run_dirs}) < len(run_dirs):
        raise UserError(f'`compare={",".join(map(str, run_dirs))}`: give each run once.')
    for run_dir, model in zip(run_dirs, models, strict=True):
        if model.definition != models[0].definition:
            raise UserError(f'`compare`: {run_dir} is of another dataset than {run_dirs[0]}; give runs of one dataset.')
    if len(models) == 1:
        return {COMPLETION: models[0]}
    return {f'{COMPLETION}, {name}': model for name, model in zip(label_runs(models, run_dirs), models, strict=True)}


def run_motion_experiment(
    models: Mapping[str, CompletionModel],
    train: Population,
    test: Population,
    seed: int = 0,
    with_neighbours: bool = True,
    conditions: Sequence[Condition] = CONDITIONS,
    settings: RegistrationSettings | None = None,
    jobs: int = 2,
) -> MotionExperiment:
    """Simulates moving test subjects, makes start volumes, and scores how their slices register to them.

    Three orthogonal stacks with noise are simulated of each subject. The completions, and the deformed neighbours, are
    those of the one batch of slices, parallel to those of the model, that shows most of the anatomy. Every start is
    shifted to the middle of the Gaussian average before slices are registered to it: that needs no knowledge of the
    motion. The average that includes noise and background, which is the paper's, is scored, but not registered to.

    Args:
        models: Models of one dataset by the name of their completion, at least one; the first also gives the mean.
        train: Training subjects, for the mean and the neighbours.
        test: Subjects to score.
        seed: Of motion and noise.
        with_neighbours: Whether the deformed neighbours are a start.
        conditions: Strength of the motion; the motion of a subject differs in nothing else.
        settings: Of the registration; None for the default.
        jobs: Processes that register.

    Returns:
        The results. A subject that fails causes a warning and has no rows under this condition.

    Raises:
        UserError: If there are no training subjects, or all subjects fail: the error of the first.
    """
    if not len(train.images):
        raise UserError('`train_data_dir`: the training volumes are needed for their mean; give their folder.')
    settings = settings or RegistrationSettings()
    neighbours = _neighbours(train) if with_neighbours else None
    mean = train.images.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows: list[Row] = []
    counts: list[int] = []
    example = None
    for condition in conditions:
        prepared, errors = {}, []
        for index, name in enumerate(test.names):
            try:
                own = _prepare(models, neighbours, mean, test, index, condition, (seed, index), settings)
            except UserError as error:
                warn(f'{name}: is left out: {error}')
                errors.append(error)
                continue
            prepared[name] = own
            counts.append(len(own.batch.slices))
            logging.info('%s: start volumes of %g mm, %g degrees.', name, condition.translation, condition.rotation)
        if not prepared:
            raise errors[0]
        if example is None:
            example = _example(next(iter(prepared)), condition, next(iter(prepared.values())))
        tasks: dict[str, Callable[[], list[Row]]] = {
            name: functools.partial(own.score, condition, settings) for name, own in prepared.items()
        }
        rows += score_subjects(tasks, jobs)
    if example is None:
        raise ValueError('`conditions`: give at least one.')
    return MotionExperiment(rows, len(test.names), NOISE, StackProtocol().simultaneous, counts, seed, example)


def _neighbours(train: Population) -> Predictor:
    return baselines.DeformedNeighbours(baselines.NeighbourPopulation(train.images))


def _prepare(
    models: Mapping[str, CompletionModel],
    neighbours: Predictor | None,
    mean: np.ndarray,
    test: Population,
    index: int,
    condition: Condition,
    entropy: tuple[int, int],
    settings: RegistrationSettings,
) -> _Subject:
    """Simulates the stacks of one subject and makes its start volumes."""
    if test.frame is None:
        raise UserError('`data_dir`: the place of these volumes in the world is unknown; give a folder of volumes.')
    definition = next(iter(models.values())).definition
    truth, affine = np.ascontiguousarray(test.images[index].T), test.frame.affine
    mask = ndimage.binary_fill_holes(truth > FOREGROUND_THRESHOLD)
    protocol = StackProtocol(pixel_spacing=definition.pixel_spacing)
    simulated = simulate_stacks(
        truth,
        mask,
        affine,
        protocol,
        MotionSettings(condition.translation, condition.rotation),
        ArtefactSettings(noise=NOISE),
        int(np.random.SeedSequence(entropy).generate_state(1)[0]),
    )
    number = list(STACK_AXES).index(definition.plane)
    stack, transforms = simulated.stacks[number], simulated.transforms[number]
    chosen, place = choose_batch(stack, settings.least_area), mean_place(mean)
    make = functools.partial(make_batch, stack, transforms, chosen, mean.shape, affine, place)
    first = next(iter(models.values()))
    batch = place_batch(make, first, STEP, condition.translation)
    made = {name: complete_batch(batch, model, len(mean)) for name, model in models.items()}
    made = {MEAN: mean_start(batch, first, mean), **made}
    return _Subject(truth, mask, affine, simulated, batch, made, neighbours)


def _example(name: str, condition: Condition, subject: _Subject) -> StartExample:
    volumes = {'truth': subject.truth, UNMASKED: subject.average(False), **subject.placed(subject.starts())}
    return StartExample(name, condition, volumes, np.linalg.norm(subject.affine[:3, :3], axis=0))
