"""The protocol of the evaluation: every test subject is completed from each number of contexts and scored."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging
from tqdm import tqdm

from tfp_bruno.contracts import CompletionModel, LocatingModel
from tfp_bruno.data import Population, Shard
from tfp_bruno.data.encoding import to_uint16
from tfp_bruno.evaluation import metrics, power_spectrum, predictive
from tfp_bruno.evaluation.methods import SLOW_BASELINES, Completer, complete_slowly, make_baselines, score_completions
from tfp_bruno.evaluation.subject_scores import (
    CountScores,
    Example,
    SubjectScores,
    read_subject_scores,
    write_subject_scores,
)
from tfp_bruno.version import __version__

EXAMPLE_CONTEXTS = 4
NUM_EXAMPLES = 3
NUM_EXAMPLE_SAMPLES = 6

_THREADS = 2


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
    num_samples: int = 20,
    score_samples: int = 3,
    seed: int = 0,
    context_slices: Mapping[int, Sequence[int]] | None = None,
    with_baselines: bool = True,
    scored_dir: str | os.PathLike | None = None,
    shard: Shard | None = None,
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
        scored_dir: Folder of scored subjects. Those that it holds, of the same data, weights, settings and version, are
            not scored again; those of a shard are added to it.
        shard: The share of the subjects to score, at least one subject; None for all of them.

    Returns:
        The results, of the subjects of the shard alone.

    Raises:
        ValueError: If a number is too small, there are no contexts of that number, or the shard holds no subject.
        UserError: If a subject's scores cannot be written.
    """
    contexts = model.definition.context_slices if context_slices is None else context_slices
    counts = sorted(contexts if counts is None else set(counts))
    if not counts or not set(counts) <= set(contexts):
        raise ValueError(f'`counts={counts}`: give at least one of {sorted(contexts)}.')
    for name, number in (('num_samples', num_samples), ('score_samples', score_samples)):
        if number < 1:
            raise ValueError(f'`{name}={number}`: must be at least 1.')
    indices = (shard or Shard()).indices(len(test.names))
    if not indices:
        raise ValueError(f'`shard={shard}`: holds none of the {len(test.names)} subjects.')
    chosen = {count: tuple(map(int, contexts[count])) for count in counts}
    protocol = _Protocol(model, chosen, num_samples, min(score_samples, num_samples), seed, with_baselines)
    folder = None if scored_dir is None else pathlib.Path(scored_dir)
    found = _score_subjects(protocol, train, test, indices, folder, adds=shard is not None)
    evaluation = _summarize(protocol, found, train, test.images[indices.start :: indices.step])
    for count, scores in evaluation.scores.items():
        logging.info('%d contexts: in-mask SSIM %s', count, _headline(scores))
    return evaluation


@dataclasses.dataclass(frozen=True)
class _Protocol:
    """A model and how it is scored; see `evaluate`."""

    model: CompletionModel
    contexts: Mapping[int, tuple[int, ...]]
    num_samples: int
    score_samples: int
    seed: int
    with_baselines: bool

    @property
    def example_count(self) -> int:
        """Number of contexts of the examples."""
        return max([count for count in self.contexts if count <= EXAMPLE_CONTEXTS], default=min(self.contexts))

    def key(self, train_images: np.ndarray) -> str:
        """Returns a hash of all that determines the scores of a subject beside the subject itself."""
        train = [_fingerprint(stack).hex() for stack in train_images] if self.with_baselines else []
        model = self.model
        alignment = model.alignment if isinstance(model, LocatingModel) else None
        settings = [sorted(self.contexts.items()), self.num_samples, self.score_samples, self.seed, train]
        of_model = [model.name, model.info.weights, dict(model.sampling), model.temperature, alignment]
        content = json.dumps([__version__, dataclasses.asdict(model.definition), of_model, settings], default=str)
        return hashlib.sha256(content.encode()).hexdigest()


def _score_subjects(
    protocol: _Protocol,
    train: Population,
    test: Population,
    indices: Sequence[int],
    scored_dir: pathlib.Path | None,
    adds: bool,
) -> list[SubjectScores]:
    """Returns the scores of some test subjects, in order: read from a folder, or made and, if `adds`, added to it."""
    found: dict[int, SubjectScores] = {}
    paths: dict[int, pathlib.Path] = {}
    if scored_dir is not None:
        key = protocol.key(train.images)
        paths = {index: scored_dir / _file_name(key, index, test.images[index]) for index in indices}
        read = {index: read_subject_scores(path) for index, path in paths.items()}
        found = {index: scores for index, scores in read.items() if scores is not None}
    if found:
        logging.info('%d of %d subjects were scored before.', len(found), len(indices))
    missing = [index for index in indices if index not in found]
    for index, scores in zip(missing, _score_missing(protocol, train, test, missing), strict=True):
        found[index] = scores
        if adds and paths:
            write_subject_scores(paths[index], scores)
    return [found[index] for index in indices]


def _file_name(key: str, index: int, truth: np.ndarray) -> str:
    """Returns the name of the file of a subject, a hash of all that determines its scores."""
    content = f'{key} {index} {_fingerprint(truth).hex()}'
    return f'{hashlib.sha256(content.encode()).hexdigest()[:32]}.npz'


def _score_missing(
    protocol: _Protocol, train: Population, test: Population, indices: Sequence[int]
) -> Iterator[SubjectScores]:
    """Yields the scores of some test subjects."""
    if not indices:
        return
    classical = make_baselines(train.images) if protocol.with_baselines else {}
    slow = {name: classical.pop(name) for name in SLOW_BASELINES if name in classical}
    completer = Completer(protocol.model, classical, protocol.num_samples, protocol.seed)
    jobs = [(test.images[index], slices) for index in indices for slices in protocol.contexts.values()]
    slowly_completed = complete_slowly(slow, jobs)
    progress = tqdm(total=len(jobs), desc='subjects', disable=None)
    with progress, concurrent.futures.ThreadPoolExecutor(_THREADS) as executor:
        for index in indices:
            truth = test.images[index]
            counts, example = {}, None
            for count, slices in protocol.contexts.items():
                completions, samples = completer.complete(index, truth, slices)
                completions |= next(slowly_completed)
                counts[count] = _score(protocol, executor, index, truth, completions, samples, slices)
                if count == protocol.example_count and index < NUM_EXAMPLES:
                    example = Example(test.names[index], slices, truth, completions, samples[:NUM_EXAMPLE_SAMPLES])
                progress.update()
            bits = predictive.bits_per_dimension(protocol.model, truth[np.newaxis], protocol.seed, [index])
            yield SubjectScores(counts, float(bits[0]), example)


def _score(
    protocol: _Protocol,
    executor: concurrent.futures.Executor,
    index: int,
    truth: np.ndarray,
    completions: Mapping[str, np.ndarray],
    samples: np.ndarray,
    context_slices: Sequence[int],
) -> CountScores:
    """Returns the scores of one subject from one number of contexts."""
    scored = samples[: protocol.score_samples]
    volumes = {method: volume[np.newaxis] for method, volume in completions.items()} | {'samples': scored}
    return CountScores(
        score_completions(executor, truth, completions, scored, context_slices),
        predictive.calibration_scores(truth, samples, context_slices, (protocol.seed, index)),
        power_spectrum.log_ratios(truth, volumes, context_slices),
    )


def _summarize(
    protocol: _Protocol, found: Sequence[SubjectScores], train: Population, images: np.ndarray
) -> Evaluation:
    """Returns the averages over subjects, whose stacks are `images`."""
    scores, errors, curves, spectra, spectrum_errors = {}, {}, {}, {}, {}
    calibrations: dict[int, list[Mapping[str, float]]] = {}
    for count in protocol.contexts:
        of_count = [subject.counts[count] for subject in found]
        scores[count], errors[count], curves[count] = _average([each.methods for each in of_count])
        spectra[count], spectrum_errors[count] = _average_spectra([each.log_ratios for each in of_count])
        calibrations[count] = [each.calibration for each in of_count]
    bits = [{'bits': subject.bits_per_dimension} for subject in found]
    return Evaluation(
        scores=scores,
        standard_errors=errors,
        ssim_over_slices=curves,
        spectra=spectra,
        spectrum_errors=spectrum_errors,
        calibration={count: metrics.average_scores(each) for count, each in calibrations.items()},
        calibration_errors={count: metrics.standard_errors(each) for count, each in calibrations.items()},
        context_slices=dict(protocol.contexts),
        bits_per_dimension=float(np.mean([each['bits'] for each in bits])),
        bits_per_dimension_error=metrics.standard_errors(bits)['bits'],
        num_subjects=len(found),
        num_train_subjects=len(train.names) if protocol.with_baselines else 0,
        num_trained_on=_count_shared(train.images, images),
        num_samples=protocol.num_samples,
        score_samples=protocol.score_samples,
        seed=protocol.seed,
        examples=tuple(subject.example for subject in found if subject.example is not None),
    )


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
