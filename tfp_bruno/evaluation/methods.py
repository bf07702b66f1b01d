"""The methods that the protocol compares, on one subject: the model, its samples and the classical baselines."""

import concurrent.futures
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import joblib
import numpy as np

from tfp_bruno import baselines
from tfp_bruno.contracts import CompletionModel, LocatingModel, Predictor
from tfp_bruno.evaluation import metrics
from tfp_bruno.registration import Frame

# The last one is no honest completion: it knows more than the contexts.
MODEL_METHODS = ('mean_image', 'sample_average', 'samples', 'known_frame')
# The baselines that take seconds for each subject run in processes of their own, beside the model, unless there are so
# few voxels that the processes would take longer to start.
SLOW_BASELINES = ('deformed_neighbours', 'deformed_components')

_IMAGES_PER_CALL = 2000
_PROCESSES = 2
_VOXELS_FOR_PROCESSES = 1_000_000


class Query(NamedTuple):
    """The first arguments of `predict` and `sample`."""

    context_images: np.ndarray
    context_slices: np.ndarray
    query_slices: np.ndarray


def make_query(truth: np.ndarray, context_slices: Sequence[int]) -> Query:
    """Returns the query of all slices of a true stack `[K, H, W]` from some of them."""
    contexts = np.asarray(context_slices, dtype=int)
    return Query(truth[None, contexts], contexts, np.arange(len(truth)))


@dataclasses.dataclass(frozen=True)
class Completer:
    """Completes the stack of one subject by every method."""

    model: CompletionModel
    baselines: Mapping[str, Predictor]
    num_samples: int
    seed: int

    def complete(
        self, subject: int, truth: np.ndarray, context_slices: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns `[K, H, W]` of each method by name, and the samples `[N, K, H, W]`."""
        query = make_query(truth, context_slices)
        completions = {'mean_image': np.asarray(self.model.predict(*query))[0]}
        # Each subject and number of contexts has a random stream of its own: leaving some out does not change others.
        samples = self._sample(query, (self.seed, len(context_slices), subject))
        completions['sample_average'] = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
        if not len(context_slices) and isinstance(self.model, LocatingModel):
            completions['known_frame'] = self.model.predict_in_frame(Frame.measure(truth), query.query_slices)
        return completions | _predict_all(self.baselines, query), samples

    def _sample(self, query: Query, entropy: tuple[int, ...]) -> np.ndarray:
        """Returns the samples `[N, K, H, W]`."""
        calls = math.ceil(self.num_samples / max(1, _IMAGES_PER_CALL // len(query.query_slices)))
        # All calls have one size, since a model may compile for each; surplus samples are dropped.
        size = math.ceil(self.num_samples / calls)
        seeds = np.random.SeedSequence(entropy).generate_state(calls)
        drawn = [np.asarray(self.model.sample(*query, size, int(seed >> 1)))[:, 0] for seed in seeds]
        return np.concatenate(drawn)[: self.num_samples]


def make_baselines(train_images: np.ndarray) -> dict[str, Predictor]:
    """Returns the classical baselines by name, fitted to stacks `[S, K, H, W]`."""
    population = baselines.ComponentPopulation(train_images)
    neighbours = baselines.NeighbourPopulation(train_images)
    return {
        'training_mean': baselines.TrainingMean(train_images),
        'nearest_subject': baselines.NearestSubject(train_images),
        'linear': baselines.LinearInterpolation(train_images),
        'components': baselines.PrincipalComponents(population),
        'kriged_components': baselines.KrigedComponents(population),
        'deformed_neighbours': baselines.DeformedNeighbours(neighbours),
        'deformed_components': baselines.DeformedComponents(neighbours),
    }


def complete_slowly(
    slow: Mapping[str, Predictor], jobs: Sequence[tuple[np.ndarray, Sequence[int]]]
) -> Iterator[dict[str, np.ndarray]]:
    """Completes stacks one after the other, in processes of their own if that is worth their start.

    Args:
        slow: Baselines by name.
        jobs: A true stack `[K, H, W]` and the slice numbers of its contexts each.

    Returns:
        `[K, H, W]` of each baseline by name, for each job in order.
    """
    if not slow:
        return iter([{} for _ in jobs])
    processes = _PROCESSES if sum(truth.size for truth, _ in jobs) >= _VOXELS_FOR_PROCESSES else 1
    parallel = joblib.Parallel(processes, return_as='generator')
    return parallel(joblib.delayed(_predict_all)(slow, make_query(*job)) for job in jobs)


def _predict_all(predictors: Mapping[str, Predictor], query: Query) -> dict[str, np.ndarray]:
    """Returns the completion `[K, H, W]` of one subject by each predictor."""
    return {name: predictor.predict(*query)[0] for name, predictor in predictors.items()}


def score_completions(
    executor: concurrent.futures.Executor,
    truth: np.ndarray,
    completions: Mapping[str, np.ndarray],
    samples: np.ndarray,
    context_slices: Sequence[int],
) -> dict[str, metrics.VolumeScores]:
    """Returns the scores of each method by name; those of `samples` are averages over the samples."""
    volumes = [*completions.values(), *samples]
    results = list(executor.map(lambda volume: metrics.score_volume(truth, volume, context_slices), volumes))
    of_methods, of_samples = results[: len(completions)], results[len(completions) :]
    scores = dict(zip(completions, of_methods, strict=True))
    scores['samples'] = metrics.VolumeScores(
        metrics.average_scores([volume.scores for volume in of_samples]),
        np.mean([volume.ssim_over_slices for volume in of_samples], axis=0),
    )
    return {method: scores[method] for method in (*MODEL_METHODS, *completions) if method in scores}
