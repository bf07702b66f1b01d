"""The protocol of the evaluation: every test subject is completed from each number of contexts and scored."""

import concurrent.futures
import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from tqdm import tqdm

from tfp_bruno import baselines
from tfp_bruno.contracts import CompletionModel, Predictor
from tfp_bruno.data import Population
from tfp_bruno.data.encoding import to_uint16
from tfp_bruno.evaluation import likelihood, metrics
from tfp_bruno.evaluation.calibration import calibration_figures

MODEL_METHODS = ('mean_image', 'sample_average', 'samples')
EXAMPLE_CONTEXTS = 4
NUM_EXAMPLES = 3
NUM_EXAMPLE_SAMPLES = 6

_IMAGES_PER_CALL = 2000
_THREADS = 2


@dataclasses.dataclass(frozen=True)
class Example:
    """One subject's completions, for the eye.

    Attributes:
        name: the subject.
        context_slices: slice numbers of its contexts.
        truth: `[K, H, W]`.
        completions: `[K, H, W]` for each method by name.
        samples: `[N, K, H, W]`, single samples.
    """

    name: str
    context_slices: tuple[int, ...]
    truth: np.ndarray
    completions: Mapping[str, np.ndarray]
    samples: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the protocol found. Scores are keyed by number of contexts, then method, then figure.

    Attributes:
        scores: averages over subjects; PSNR of the squared error averaged over subjects.
        standard_errors: their standard errors over subjects.
        ssim_over_slices: `[K]` for each number of contexts and method, SSIM of each slice averaged over subjects.
        calibration: of the samples, see `calibration.calibration_figures`, keyed by number of contexts.
        calibration_errors: their standard errors over subjects.
        context_slices: slice numbers of the contexts, keyed by their number.
        bits_per_dimension: average over subjects, see `likelihood.bits_per_dimension`.
        bits_per_dimension_error: its standard error over subjects.
        num_subjects: subjects that were scored.
        num_train_subjects: subjects behind the baselines, 0 without them.
        num_trained_on: those of the scored subjects that are also among the training subjects.
        num_samples: samples behind the sample average of each subject.
        score_samples: samples whose single scores were averaged.
        seed: of samples and of the noise behind bits per dimension.
        examples: a few subjects at the largest number of contexts up to 4.
    """

    scores: Mapping[int, Mapping[str, Mapping[str, float]]]
    standard_errors: Mapping[int, Mapping[str, Mapping[str, float]]]
    ssim_over_slices: Mapping[int, Mapping[str, np.ndarray]]
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

    Each slice is predicted, the contexts among them; the model's own picture of a context is what is scored, the
    context is not pasted in. Every figure is also given without the context slices.

    Args:
        model: a trained model.
        train: the training subjects, for the baselines.
        test: the subjects to complete.
        counts: numbers of contexts, keys of `context_slices`; None for all of them.
        num_samples: samples per subject behind the sample average, at least 1.
        score_samples: how many of them are scored one by one, at least 1; all of them if there are fewer.
        seed: of the samples and of the noise behind bits per dimension, at least 0.
        context_slices: slice numbers of the contexts, keyed by their number; None for those of the definition.
        with_baselines: whether the classical baselines complete the subjects, too.

    Returns:
        The Evaluation.

    Raises:
        ValueError: if a number is too small, or there are no contexts of that number.
    """
    contexts = model.definition.context_slices if context_slices is None else context_slices
    counts = sorted(contexts if counts is None else set(counts))
    unknown = [count for count in counts if count not in contexts]
    if unknown or not counts or min(num_samples, score_samples) < 1:
        raise ValueError(f'counts {counts} must be among {sorted(contexts)}, num_samples and score_samples at least 1')
    score_samples = min(score_samples, num_samples)
    classical = _make_baselines(train.images) if with_baselines else {}
    completer = _Completer(model, classical, num_samples, seed)
    example_count = max([count for count in counts if count <= EXAMPLE_CONTEXTS], default=counts[0])
    scores, errors, curves = {}, {}, {}
    examples: list[Example] = []
    calibrations: dict[int, list[dict[str, float]]] = {}
    progress = tqdm(total=len(counts) * len(test.names), desc='subjects', disable=None)
    with progress, concurrent.futures.ThreadPoolExecutor(_THREADS) as executor:
        for count in counts:
            outcomes, calibrations[count] = [], []
            for subject, truth in enumerate(test.images):
                completions, samples = completer.complete(subject, truth, contexts[count])
                calibrations[count].append(calibration_figures(truth, samples, contexts[count]))
                outcomes.append(_score(executor, truth, completions, samples[:score_samples], contexts[count]))
                if count == example_count and subject < NUM_EXAMPLES:
                    shown = samples[:NUM_EXAMPLE_SAMPLES]
                    given = tuple(contexts[count])
                    examples.append(Example(test.names[subject], given, truth, completions, shown))
                progress.update()
            scores[count], errors[count], curves[count] = _average(outcomes)
            logging.info('%d contexts: in-mask SSIM %s', count, _headline(scores[count]))
    bits = likelihood.bits_per_dimension(model, test.images, seed)
    return Evaluation(
        scores=scores,
        standard_errors=errors,
        ssim_over_slices=curves,
        calibration={count: metrics.average_figures(figures) for count, figures in calibrations.items()},
        calibration_errors={count: metrics.standard_errors(figures) for count, figures in calibrations.items()},
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


@dataclasses.dataclass(frozen=True)
class _Completer:
    """Completes the stack of one subject by every method."""

    model: CompletionModel
    baselines: Mapping[str, Predictor]
    num_samples: int
    seed: int

    def complete(self, subject, truth, context_slices):
        """Returns `[K, H, W]` of each method by name, and the samples `[N, K, H, W]`."""
        context_slices = np.asarray(context_slices, dtype=int)
        query = _Query(truth[None, context_slices], context_slices, np.arange(len(truth)))
        completions = {'mean_image': np.asarray(self.model.predict(*query))[0]}
        # A stream of its own for each subject and number of contexts: leaving some out changes none of the others.
        samples = self._sample(query, (self.seed, len(context_slices), subject))
        completions['sample_average'] = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
        completions |= {name: baseline.predict(*query)[0] for name, baseline in self.baselines.items()}
        return completions, samples

    def _sample(self, query: _Query, entropy: tuple[int, ...]) -> np.ndarray:
        """Returns the samples `[N, K, H, W]`."""
        calls = math.ceil(self.num_samples / max(1, _IMAGES_PER_CALL // len(query.query_slices)))
        # The calls are all of one size, since a model may compile for each, and what is too much is left.
        size = math.ceil(self.num_samples / calls)
        seeds = np.random.SeedSequence(entropy).generate_state(calls)
        drawn = [np.asarray(self.model.sample(*query, size, int(seed >> 1)))[:, 0] for seed in seeds]
        return np.concatenate(drawn)[: self.num_samples]


def _make_baselines(train_images: np.ndarray) -> dict[str, Predictor]:
    population = baselines.ComponentPopulation(train_images)
    return {
        'training_mean': baselines.TrainingMean(train_images),
        'nearest_subject': baselines.NearestSubject(train_images),
        'linear': baselines.LinearInterpolation(train_images),
        'components': baselines.PrincipalComponents(population),
        'kriged_components': baselines.KrigedComponents(population),
    }


def _score(executor, truth, completions, samples, context_slices):
    """Returns the VolumeScores of each method by name; those of `samples` are the average over the samples."""
    volumes = [*completions.values(), *samples]
    results = list(executor.map(lambda volume: metrics.score_volume(truth, volume, context_slices), volumes))
    of_methods, of_samples = results[: len(completions)], results[len(completions) :]
    scores = dict(zip(completions, of_methods, strict=True))
    scores['samples'] = metrics.VolumeScores(
        metrics.average_figures([score.figures for score in of_samples]),
        np.mean([score.ssim_over_slices for score in of_samples], axis=0),
    )
    return {method: scores[method] for method in (*MODEL_METHODS, *completions) if method in scores}


def _average(outcomes):
    """Returns averages, standard errors and SSIM over slices of each method, over the subjects of `outcomes`."""
    scores, errors, curves = {}, {}, {}
    for method in outcomes[0]:
        figures = [outcome[method].figures for outcome in outcomes]
        averages, deviations = metrics.average_figures(figures), metrics.standard_errors(figures)
        scores[method], errors[method] = metrics.with_psnr(averages, deviations)
        curves[method] = np.mean([outcome[method].ssim_over_slices for outcome in outcomes], axis=0)
    return scores, errors, curves


def _headline(scores):
    return ', '.join(f'{method} {figures["mask_ssim"]:.3f}' for method, figures in scores.items())


def _count_shared(train_images, test_images):
    """Returns how many of the test stacks are also among the training stacks."""
    train = {_fingerprint(stack) for stack in train_images}
    return sum(_fingerprint(stack) in train for stack in test_images)


def _fingerprint(stack):
    # In 16 bits, as cached: the same for a new stack and one from the cache.
    return hashlib.sha256(to_uint16(stack).tobytes()).digest()
