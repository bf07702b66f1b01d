"""The completion of a study: every subject once; a subject that fails does not stop the others."""

import collections
import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from absl import logging
from tqdm import tqdm

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import Shard, Subject
from tfp_bruno.data.file_names import stem_of
from tfp_bruno.data.masks import MaskFinder
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.reconstruction.completion import Scorer
from tfp_bruno.reconstruction.contexts import Contexts, read_scan
from tfp_bruno.reconstruction.location import alignment_of
from tfp_bruno.reconstruction.placing import Placing, place_contexts
from tfp_bruno.reconstruction.positions import SliceSelection
from tfp_bruno.reconstruction.sidecar import SIDECAR, check_same_completion, check_same_scan, describe_inputs
from tfp_bruno.reconstruction.subject import ReconstructionSettings, reconstruct

# Number of subjects that are read, and whose means are predicted, together.
BATCH = 8
_READERS = 2

_Result = TypeVar('_Result')


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """How a study is completed.

    Attributes:
        selection: The slices of every scan that are its contexts.
        use_masks: Whether each scan has a mask beside it, named as `MaskFinder` expects.
        assume_ras: Whether scans and masks without an orientation are read as RAS, centred on world 0.
        reconstruction: How each subject is completed.
        placing: How each scan is placed in the model's stack.
    """

    selection: SliceSelection
    use_masks: bool = False
    assume_ras: bool = False
    reconstruction: ReconstructionSettings = dataclasses.field(default_factory=ReconstructionSettings)
    placing: Placing = dataclasses.field(default_factory=Placing)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of the completion of a subject.

    Attributes:
        subject: The subject.
        folder: Its output folder.
        state: 'completed', 'complete before' or 'failed'.
        error: One line; empty if it did not fail.
    """

    subject: Subject
    folder: pathlib.Path
    state: str
    error: str = ''


def choose_subjects(subjects: Sequence[Subject], participant_label: Sequence[str] | None) -> list[Subject]:
    """Returns the subjects with some labels, in the same order.

    Args:
        subjects: The subjects of the study.
        participant_label: Their names, with or without `sub-`; None for all.

    Raises:
        UserError: If there is no label, or no subject of a label.
    """
    if participant_label is None:
        return list(subjects)
    wanted = {label.removeprefix('sub-') for label in participant_label}
    unknown = sorted(wanted - {subject.name.removeprefix('sub-') for subject in subjects})
    if unknown or not wanted:
        wrong = f'there is no subject {unknown[0]}' if unknown else 'is empty'
        labels = ','.join(participant_label)
        raise UserError(f'`participant_label={labels}`: {wrong}; give names of subjects of the study.')
    return [subject for subject in subjects if subject.name.removeprefix('sub-') in wanted]


def subject_folders(subjects: Sequence[Subject], output_dir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the output folder of each volume.

    Args:
        subjects: The volumes.
        output_dir: The folder of the study.

    Returns:
        `sub-01`, or `sub-01/ses-1` for a session; if a subject has several volumes, a folder in it with the name of the
        file.

    Raises:
        UserError: If two volumes would share a folder.
    """
    counts = collections.Counter(subject.name for subject in subjects)
    owners: dict[pathlib.Path, Subject] = {}
    for subject in subjects:
        several = counts[subject.name] > 1
        folder = output_dir.joinpath(subject.name, subject.session, stem_of(subject.path) if several else '')
        other = owners.setdefault(folder, subject)
        if other is not subject:
            raise UserError(f'{subject.path}: would be written to {folder}, like {other.path}; rename or remove one.')
    return list(owners)


def reconstruct_study(
    model: CompletionModel,
    subjects: Sequence[Subject],
    output_dir: pathlib.Path,
    settings: StudySettings,
    scorer: Scorer | None = None,
    progress: bool = True,
    shard: Shard | None = None,
) -> list[Outcome]:
    """Completes every subject, or those of a shard, each into its own folder.

    A subject that is complete is not completed again. One that fails leaves nothing in its folder, and the others
    continue.

    Args:
        model: A trained model.
        subjects: The subjects with their scans.
        output_dir: The folder of the study; it exists.
        settings: How the study is completed.
        scorer: See `reconstruct`.
        progress: Whether to show a progress bar, on a terminal only.
        shard: The share of the subjects to complete; None for all. Shards can run at the same
            time: no two write to one folder.

    Returns:
        The outcome of each subject of the shard, in the same order.

    Raises:
        UserError: If two volumes would share a folder.
    """
    outcomes = []
    folders = subject_folders(subjects, output_dir)
    jobs = [(subjects[index], folders[index]) for index in (shard or Shard()).indices(len(subjects))]
    masks = MaskFinder(subject.path for subject in subjects) if settings.use_masks else None
    with tqdm(total=len(jobs), desc='subjects', unit='subject', disable=None if progress else True) as bar:
        for start in range(0, len(jobs), BATCH):
            for outcome in _reconstruct_batch(model, jobs[start : start + BATCH], settings, scorer, masks):
                if outcome.error:
                    logging.warning('%s failed: %s', outcome.subject.name, outcome.error)
                outcomes.append(outcome)
                bar.update()
    return outcomes


def _reconstruct_batch(
    model: CompletionModel,
    jobs: Sequence[tuple[Subject, pathlib.Path]],
    settings: StudySettings,
    scorer: Scorer | None,
    masks: MaskFinder | None,
) -> Iterator[Outcome]:
    """Yields the outcomes of a few subjects: read in threads, predicted together, written one by one."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as executor:
        results = list(executor.map(lambda job: _attempt(*job, _read, model, *job, settings, masks), jobs))
    contexts = {index: result for index, result in enumerate(results) if isinstance(result, Contexts)}
    means = _predict_together(model, contexts)
    for index, (job, result) in enumerate(zip(jobs, results, strict=True)):
        if index in contexts:
            mean = means.get(index)
            result = _attempt(*job, _write, model, *job, contexts[index], mean, settings.reconstruction, scorer)
        yield result


def _attempt(
    subject: Subject, folder: pathlib.Path, function: Callable[..., _Result], *arguments: Any
) -> _Result | Outcome:
    """Returns the result of a function, or the outcome of a subject that failed."""
    try:
        return function(*arguments)
    except UserError as error:
        return Outcome(subject, folder, 'failed', str(error))
    # No error of one subject, expected or not, may stop the others.
    except Exception as error:
        logging.debug('%s', subject.name, exc_info=True)
        message = ' '.join(f'{type(error).__name__}: {error}'.split())
        return Outcome(subject, folder, 'failed', f'{subject.path}: {message}')


def _read(
    model: CompletionModel, subject: Subject, folder: pathlib.Path, settings: StudySettings, masks: MaskFinder | None
) -> Contexts | Outcome:
    """Returns the contexts of a subject, or its outcome if it is complete."""
    mask_path = None if masks is None else masks.find(subject.path)
    files = {'scan': subject.path} | ({} if mask_path is None else {'mask': mask_path})
    inputs = describe_inputs(files.items())
    sidecar = folder / SIDECAR
    if sidecar.exists() and settings.reconstruction.overwrite:
        check_same_scan(sidecar, subject.path)
    elif sidecar.exists():
        expected = settings.reconstruction.to_json() | {
            'temperature': model.temperature,
            'alignment': alignment_of(model),
            'intensity': settings.reconstruction.output.intensity,
            'selection': {**settings.selection.to_json(), **settings.placing.to_json()},
        }
        check_same_completion(sidecar, expected, inputs, model.info.weights)
        return Outcome(subject, folder, 'complete before')
    with collect_warnings() as warnings:
        scan, mask = read_scan(subject.path, mask_path, settings.assume_ras)
        contexts = place_contexts(model, scan, settings.selection, mask, settings.placing)
    return dataclasses.replace(contexts, inputs=inputs, warnings=warnings)


def _write(
    model: CompletionModel,
    subject: Subject,
    folder: pathlib.Path,
    contexts: Contexts,
    mean: np.ndarray | None,
    settings: ReconstructionSettings,
    scorer: Scorer | None,
) -> Outcome:
    """Completes and writes a subject whose contexts were read, and whose mean may be predicted already."""
    reconstruct(model, contexts, folder, settings, scorer, mean)
    return Outcome(subject, folder, 'completed')


def _predict_together(model: CompletionModel, contexts: Mapping[int, Contexts]) -> dict[int, np.ndarray]:
    """Returns the predicted means, keyed like the contexts; subjects with the same positions are predicted together.

    If that fails, they have no mean here: each is then predicted alone, and may fail alone.
    """
    means: dict[int, np.ndarray] = {}
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, item in contexts.items():
        groups.setdefault(item.positions, []).append(index)
    queries = np.arange(model.definition.num_slices)
    for positions, members in groups.items():
        images = np.stack([contexts[index].images for index in members])
        try:
            predicted = model.predict(images, np.array(positions, np.int64), queries)
        # For example out of memory, where a single subject may still fit. If it fails too, that error is reported.
        except Exception:
            logging.debug('%d subjects at once', len(members), exc_info=True)
            continue
        means |= dict(zip(members, predicted, strict=True))
    return means
