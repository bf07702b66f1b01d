"""The protocol of the evaluation: every test subject is completed from each number of contexts and scored."""

import concurrent.futures
import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import joblib
import numpy as np
from absl import logging
from tqdm import tqdm

from tfp_bruno import baselines
from tfp_bruno.contracts import CompletionModel, LocatingModel, Predictor
from tfp_bruno.data import Population
from tfp_bruno.data.encoding import to_uint16
from tfp_bruno.evaluation import metrics, power_spectrum, predictive
from tfp_bruno.registration import Frame

# The last one is no honest completion: it knows more than the contexts.
MODEL_METHODS = ('mean_image', 'sample_average', 'samples', 'known_frame')
EXAMPLE_CONTEXTS = 4
NUM_EXAMPLES = 3
NUM_EXAMPLE_SAMPLES = 6

_IMAGES_PER_CALL = 2000
_THREADS = 2
# The baselines that take seconds for each subject run in processes of their own, beside the model, unless there are so
# few voxels that the processes would take longer to start.
_SLOW_BASELINES = ('deformed_neighbours', 'deformed_components')
_PROCESSES = 2
_VOXELS_FOR_PROCESSES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Example:
    """One subject's completions, for the mosaics.

    Attributes:
        name: The subject.
        context_slices: Slice numbers of its contexts.
        truth: `[K, H, W]`.
        completions: `[K, H, W]` of each method by name.
        samples: `[N, K, H, W]`, single samples.
    """

    name: str
    context_slices: tuple[int, ...]
    truth: np.ndarray
    completions: Mapping[str, np.ndarray]
    samples: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of the protocol. Scores are keyed by number of contexts, then method, then name of the score.

    Attributes:
        scores: Averages over subjects; PSNR is that of the squared error averaged over subjects.
        standard_errors: Their standard errors over subjects.
        ssim_over_slices: `[K]` for each number of contexts and method, SSIM of each slice averaged over subjects.
        spectra: Power in each octave relative to the truth's, keyed by number of contexts, method and octave, see
            `power_spectrum.log_ratios`; geometric averages over subjects.
        spectrum_errors: Their standard errors over subjects.
        calibration: Scores of the samples' distribution, see `predictive.calibration_scores`, keyed by number of
            contexts.
        calibration_errors: Their standard errors over subjects.
        context_slices: Slice numbers of the contexts, keyed by their number.
        bits_per_dimension: Average over subjects, see `predictive.bits_per_dimension`.
        bits_per_dimension_error: Its standard error over subjects.
        num_subjects: Number of scored subjects.
        num_train_subjects: Number of training subjects of the baselines, 0 without baselines.
        num_trained_on: Number of scored subjects that are also training subjects.
        num_samples: Number of samples in the sample average of each subject.
        score_samples: Number of samples that were scored one by one.
        seed: Seed of the samples and of the noise behind bits per dimension.
        examples: The first subjects, completed from the largest number of contexts up to 4.
    """

    scores: Mapping[int, Mapping[str, Mapping[str, float]]]
    standard_errors: Mapping[int, Mapping[str, Mapping[str, float]]]
    ssim_over_slices: Mapping[int, Mapping[str, np.ndarray]]
    spectra: Mapping[int, Mapping[str, Mapping[str, float]]]
    spectrum_errors: Mapping[int, Mapping[str, Mapping[str, float]]]
    calibration: Mapping[int, Mapping[str, float]]
    calibration_errors: Mapping[int, Mapping[str, float]]
    context_slices: Mapping[int, tuple[int, ...]]
    bits_per_dimension: float
    bits_per_dimension_error: float
    num_subjects: int
    num_train_subjects: int
    num_trained_on: int
    num_samples: int
    score_samples: int
    seed: int
    examples: tuple[Example, ...]


def evaluate(
    model: CompletionModel,
    train: Population,
    test: Population,
    counts: Sequence[int] | None = None,
    num_samples: int = 100,
    score_samples: int = 10,
    seed: int = 0,
    context_slices: Mapping[int, Sequence[int]] | None = None,
    with_baselines: bool = True,
) -> Evaluation:
    """Runs the protocol: every subject, every number of contexts, every slice of the stack.

    Each slice is predicted, the contexts among them: the model's own prediction of a context is scored, the context
    is not pasted in. SSIM, CC and PSNR are also computed without the context slices. Without contexts, a model that
    finds the place of slices is also given size and place of the anatomy, measured on the true stack.

    Args:
        model: A trained model.
        train: The subjects that the baselines are fitted to.
        test: The subjects to complete.
        counts: Numbers of contexts, keys of `context_slices`; None for all of them.
        num_samples: Number of samples per subject in the sample average, at least 1.
        score_samples: How many of them are scored one by one, at least 1; all of them if there are fewer.
        seed: Seed of the samples, of the noise behind bits per dimension and of the pairs of voxels of the variogram
            score, at least 0.
        context_slices: Slice numbers of the contexts, keyed by their number; None for those of the definition.
        with_baselines: Whether the classical baselines complete the subjects, too.

    Returns:
        The results.

    Raises:
        ValueError: If a number is too small, or there are no contexts of that number.
    """
    contexts = model.definition.context_slices if context_slices is None else context_slices
    counts = sorted(contexts if counts is None else set(counts))
    if not counts or not set(counts) <= set(contexts):
        raise ValueError(f'`counts={counts}`: give at least one of {sorted(contexts)}.')
    for name, number in (('num_samples', num_samples), ('score_samples', score_samples)):
        if number < 1:
            raise ValueError(f'`{name}={number}`: must be at least 1.')
    score_samples = min(score_samples, num_samples)
    classical = _make_baselines(train.images) if with_baselines else {}
    slow = {name: classical.pop(name) for name in _SLOW_BASELINES if name in classical}
    completer = _Completer(model, classical, num_samples, seed)
    example_count = max([count for count in counts if count <= EXAMPLE_CONTEXTS], default=counts[0])
    scores, errors, curves, spectra, spectrum_errors = {}, {}, {}, {}, {}
    examples: list[Example] = []
    calibrations: dict[int, list[dict[str, float]]] = {}
    progress = tqdm(total=len(counts) * len(test.names), desc='subjects', disable=None)
    with progress, concurrent.futures.ThreadPoolExecutor(_THREADS) as executor:
        for count in counts:
            outcomes, calibrations[count], ratios = [], [], []
            slowly_completed = _complete_slowly(slow, test.images, contexts[count])
            for subject, (truth, others) in enumerate(zip(test.images, slowly_completed, strict=True)):
                completions, samples = completer.complete(subject, truth, contexts[count])
                completions |= others
                scored = samples[:score_samples]
                entropy = seed, subject
                calibrations[count].append(predictive.calibration_scores(truth, samples, contexts[count], entropy))
                volumes = {name: volume[np.newaxis] for name, volume in completions.items()} | {'samples': scored}
                ratios.append(power_spectrum.log_ratios(truth, volumes, contexts[count]))
                outcomes.append(_score(executor, truth, completions, scored, contexts[count]))
                if count == example_count and subject < NUM_EXAMPLES:
                    name, slices = test.names[subject], tuple(contexts[count])
                    examples.append(Example(name, slices, truth, completions, samples[:NUM_EXAMPLE_SAMPLES]))
                progress.update()
            scores[count], errors[count], curves[count] = _average(outcomes)
            spectra[count], spectrum_errors[count] = _average_spectra(ratios)
            logging.info('%d contexts: in-mask SSIM %s', count, _headline(scores[count]))
    bits = predictive.bits_per_dimension(model, test.images, seed)
    return Evaluation(
        scores=scores,
        standard_errors=errors,
        ssim_over_slices=curves,
        spectra=spectra,
        spectrum_errors=spectrum_errors,
        calibration={count: metrics.average_scores(found) for count, found in calibrations.items()},
        calibration_errors={count: metrics.standard_errors(found) for count, found in calibrations.items()},
        context_slices={count: tuple(contexts[count]) for count in counts},
        bits_per_dimension=float(bits.mean()),
        bits_per_dimension_error=metrics.standard_errors([{'bits': value} for value in bits])['bits'],
        num_subjects=len(test.names),
        num_train_subjects=len(train.names) if with_baselines else 0,
        num_trained_on=_count_shared(train.images, test.images),
        num_samples=num_samples,
        score_samples=score_samples,
        seed=seed,
        examples=tuple(examples),
    )


class _Query(NamedTuple):
    """The first arguments of `predict` and `sample`."""

    context_images: np.ndarray
    context_slices: np.ndarray
    query_slices: np.ndarray


def _make_query(truth: np.ndarray, context_slices: Sequence[int]) -> _Query:
    contexts = np.asarray(context_slices, dtype=int)
    return _Query(truth[None, contexts], contexts, np.arange(len(truth)))


@dataclasses.dataclass(frozen=True)
class _Completer:
    """Completes the stack of one subject by every method."""

    model: CompletionModel
    baselines: Mapping[str, Predictor]
    num_samples: int
    seed: int

    def complete(
        self, subject: int, truth: np.ndarray, context_slices: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns `[K, H, W]` of each method by name, and the samples `[N, K, H, W]`."""
        query = _make_query(truth, context_slices)
        completions = {'mean_image': np.asarray(self.model.predict(*query))[0]}
        # Each subject and number of contexts has a random stream of its own: leaving some out does not change others.
        samples = self._sample(query, (self.seed, len(context_slices), subject))
        completions['sample_average'] = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
        if not len(context_slices) and isinstance(self.model, LocatingModel):
            completions['known_frame'] = self.model.predict_in_frame(Frame.measure(truth), query.query_slices)
        return completions | _predict_all(self.baselines, query), samples

    def _sample(self, query: _Query, entropy: tuple[int, ...]) -> np.ndarray:
        """Returns the samples `[N, K, H, W]`."""
        calls = math.ceil(self.num_samples / max(1, _IMAGES_PER_CALL // len(query.query_slices)))
        # All calls have one size, since a model may compile for each; surplus samples are dropped.
        size = math.ceil(self.num_samples / calls)
        seeds = np.random.SeedSequence(entropy).generate_state(calls)
        drawn = [np.asarray(self.model.sample(*query, size, int(seed >> 1)))[:, 0] for seed in seeds]
        return np.concatenate(drawn)[: self.num_samples]


def _make_baselines(train_images: np.ndarray) -> dict[str, Predictor]:
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


def _complete_slowly(
    slow: Mapping[str, Predictor], images: np.ndarray, context_slices: Sequence[int]
) -> Iterable[dict[str, np.ndarray]]:
    """Completes every subject, in processes of their own if that is worth their start.

    Args:
        slow: Baselines by name.
        images: `[S, K, H, W]`.
        context_slices: Slice numbers of the contexts.

    Returns:
        `[K, H, W]` of each baseline by name, for each subject.
    """
    if not slow:
        return [{} for _ in images]
    processes = _PROCESSES if images.size >= _VOXELS_FOR_PROCESSES else 1
    parallel = joblib.Parallel(processes, return_as='generator')
    return parallel(joblib.delayed(_predict_all)(slow, _make_query(truth, context_slices)) for truth in images)


def _predict_all(predictors: Mapping[str, Predictor], query: _Query) -> dict[str, np.ndarray]:
    """Returns the completion `[K, H, W]` of one subject by each predictor."""
    return {name: predictor.predict(*query)[0] for name, predictor in predictors.items()}


def _score(
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


def _average(
    outcomes: Sequence[Mapping[str, metrics.VolumeScores]],
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Returns averages over subjects, standard errors and SSIM over slices of each method."""
    scores, errors, curves = {}, {}, {}
    for method in outcomes[0]:
        found = [outcome[method].scores for outcome in outcomes]
        scores[method], errors[method] = metrics.with_psnr(
            metrics.average_scores(found), metrics.standard_errors(found)
        )
        curves[method] = np.mean([outcome[method].ssim_over_slices for outcome in outcomes], axis=0)
    return scores, errors, curves


def _average_spectra(
    ratios: Sequence[Mapping[str, Mapping[str, float]]],
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Returns geometric averages over subjects of each method's ratios, and their standard errors to first order."""
    averages, errors = {}, {}
    for method in ratios[0]:
        found = [each[method] for each in ratios]
        logs, log_errors = metrics.average_scores(found), metrics.standard_errors(found)
        averages[method] = {octave: float(np.exp(value)) for octave, value in logs.items()}
        errors[method] = {octave: averages[method][octave] * error for octave, error in log_errors.items()}
    return averages, errors


def _headline(scores: Mapping[str, Mapping[str, float]]) -> str:
    return ', '.join(f'{method} {found["mask_ssim"]:.3f}' for method, found in scores.items())


def _count_shared(train_images: np.ndarray, test_images: np.ndarray) -> int:
    """Returns the number of test stacks that are also training stacks."""
    train = {_fingerprint(stack) for stack in train_images}
    return sum(_fingerprint(stack) in train for stack in test_images)


def _fingerprint(stack: np.ndarray) -> bytes:
    # In 16 bits, as in the cache: equal before and after the cache.
    return hashlib.sha256(to_uint16(stack).tobytes()).digest()
