"""Whole studies: every subject of a folder, going on after one that fails, and not twice."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging
from tqdm import tqdm

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import Subject
from tfp_bruno.data.file_names import stem_of
from tfp_bruno.data.masks import MaskFinder
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.reconstruction.alignment import training_frame
from tfp_bruno.reconstruction.contexts import Contexts, contexts_of_scan
from tfp_bruno.reconstruction.positions import SliceSelection
from tfp_bruno.reconstruction.sidecar import check_same_inputs, check_same_scan, describe_inputs, read_scan
from tfp_bruno.reconstruction.subject import SIDECAR, ReconstructionSettings, reconstruct

# Subjects that are read, and whose means are predicted, at once.
BATCH = 8
_READERS = 2


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """How a study is completed.

    Attributes:
        selection: which slices of every scan are its contexts.
        use_masks: whether each scan has a mask beside it, as `MaskFinder` knows them.
        assume_ras: take scans and masks that have no orientation as RAS, centred at world 0.
        reconstruction: how each subject is completed.
    """

    selection: SliceSelection
    use_masks: bool = False
    assume_ras: bool = False
    reconstruction: ReconstructionSettings = dataclasses.field(default_factory=ReconstructionSettings)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a subject.

    Attributes:
        subject: the subject.
        folder: where its files are.
        state: 'completed', 'complete before' or 'failed'.
        error: one line; empty if it did not fail.
    """

    subject: Subject
    folder: pathlib.Path
    state: str
    error: str = ''


def choose_subjects(subjects: Sequence[Subject], labels: Sequence[str] | None) -> list[Subject]:
    """Returns the subjects of some labels.

    Args:
        subjects: as found.
        labels: names with or without `sub-`; None for all.

    Returns:
        The subjects, in the same order.

    Raises:
        UserError: if a label is nobody's.
    """
    if labels is None:
        return list(subjects)
    wanted = {label.removeprefix('sub-') for label in labels}
    known = {subject.name.removeprefix('sub-') for subject in subjects}
    unknown = sorted(wanted - known)
    if unknown or not wanted:
        raise UserError(f'--participant_label={",".join(labels)}: {unknown[0] if unknown else "nobody"} is not there.')
    return [subject for subject in subjects if subject.name.removeprefix('sub-') in wanted]


def subject_folders(subjects: Sequence[Subject], output_dir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the output folder of each volume.

    Args:
        subjects: the volumes.
        output_dir: the folder of the study.

    Returns:
        `sub-01`, or `sub-01/ses-1` of a session; and one below, with the file's name, where a subject has several.

    Raises:
        UserError: if two volumes would share a folder.
    """
    counts = collections.Counter(subject.name for subject in subjects)
    owners: dict[pathlib.Path, Subject] = {}
    for subject in subjects:
        several = counts[subject.name] > 1
        folder = output_dir.joinpath(subject.name, subject.session, stem_of(subject.path) if several else '')
        other = owners.setdefault(folder, subject)
        if other is not subject:
            raise UserError(f'{subject.path}: would be written to {folder}, as {other.path}; rename or remove one.')
    return list(owners)


def reconstruct_study(
    model: CompletionModel,
    subjects: Sequence[Subject],
    output_dir: pathlib.Path,
    settings: StudySettings,
    scorer: Callable | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Completes every subject, each into a folder of its own.

    Args:
        model: a trained model.
        subjects: with their scans.
        output_dir: the folder of the study; it exists.
        settings: how.
        scorer: as of `reconstruct`.
        progress: whether to show a bar, on a terminal only.

    Returns:
        What became of each, in the same order. A subject that is complete is not done again; one that fails leaves
        nothing in its folder, and the others go on.

    Raises:
        UserError: if two volumes would share a folder.
    """
    outcomes = []
    folders = subject_folders(subjects, output_dir)
    masks = MaskFinder(subject.path for subject in subjects) if settings.use_masks else None
    with tqdm(total=len(subjects), desc='subjects', unit='subject', disable=None if progress else True) as bar:
        for pairs in _batches(zip(subjects, folders, strict=True), BATCH):
            for outcome in _reconstruct_batch(model, pairs, settings, scorer, masks):
                if outcome.error:
                    logging.warning('%s failed: %s', outcome.subject.name, outcome.error)
                outcomes.append(outcome)
                bar.update()
    return outcomes


def _batches(pairs: Iterator, size: int) -> Iterator[list]:
    """Gives lists of up to `size` elements."""
    pairs = iter(pairs)
    while batch := list(itertools.islice(pairs, size)):
        yield batch


def _reconstruct_batch(
    model: CompletionModel, pairs, settings: StudySettings, scorer, masks: MaskFinder | None
) -> list[Outcome]:
    """Completes a few subjects: read in threads, their means predicted together, written one by one."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as executor:
        read = list(executor.map(lambda pair: _guarded(*pair, _read, model, *pair, settings, masks), pairs))
    contexts = {index: item for index, item in enumerate(read) if isinstance(item, Contexts)}
    means = _predict_together(model, contexts)
    outcomes = []
    for index, (subject, folder) in enumerate(pairs):
        if index in contexts:
            done = _guarded(
                subject,
                folder,
                reconstruct,
                model,
                contexts[index],
                folder,
                settings.reconstruction,
                scorer,
                means.get(index),
            )
            outcomes.append(done if isinstance(done, Outcome) else Outcome(subject, folder, 'completed'))
        else:
            outcomes.append(read[index] or Outcome(subject, folder, 'complete before'))
    return outcomes


def _guarded(subject: Subject, folder: pathlib.Path, function: Callable, *arguments):
    """Returns what a function returns, or the Outcome of a subject that failed."""
    try:
        return function(*arguments)
    except UserError as error:
        return Outcome(subject, folder, 'failed', str(error))
    # Whatever is wrong with one subject, the others are worth their hours.
    except Exception as error:
        logging.debug('%s', subject.name, exc_info=True)
        message = ' '.join(f'{type(error).__name__}: {error}'.split())
        return Outcome(subject, folder, 'failed', f'{subject.path}: {message}')


def _read(
    model: CompletionModel, subject: Subject, folder: pathlib.Path, settings: StudySettings, masks: MaskFinder | None
) -> Contexts | None:
    """Returns the contexts of a subject, or None if it is complete."""
    mask_path = None if masks is None else masks.find(subject.path)
    files = {'scan': subject.path} | ({} if mask_path is None else {'mask': mask_path})
    inputs = describe_inputs(files.items())
    sidecar = folder / SIDECAR
    if sidecar.exists() and settings.reconstruction.overwrite:
        _check_same_scan(sidecar, subject)
    elif sidecar.exists():
        _check_same(sidecar, model, settings, inputs)
        return None
    with collect_warnings() as warnings:
        scan, mask = read_scan(subject.path, mask_path, settings.assume_ras)
        contexts = contexts_of_scan(scan, settings.selection, model.definition, mask, training_frame(model.info))
    return dataclasses.replace(contexts, inputs=inputs, warnings=warnings)


def _check_same_scan(sidecar: pathlib.Path, subject: Subject) -> None:
    """Raises a UserError if a folder holds the result of another scan; one that is damaged may be overwritten."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        before = json.loads(sidecar.read_text(encoding='utf-8'))['files'][0]
        check_same_scan(before, subject.path, sidecar.parent)


def _check_same(
    sidecar: pathlib.Path, model: CompletionModel, settings: StudySettings, inputs: list[dict[str, str]]
) -> None:
    """Raises a UserError if a complete subject was made of other files or with other settings."""
    try:
        before = json.loads(sidecar.read_text(encoding='utf-8'))
        # Sidecars of before there was a temperature do not name it.
        made_with = {'temperature': 1.0, **before, 'intensity': before['intensity']['kind']}
        made_of = {item['role']: item['sha256'] for item in before.get('inputs', ())}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{sidecar}: is damaged ({error!r:.80}); remove its folder, or --overwrite.') from error
    check_same_inputs(made_of, inputs, sidecar.parent)
    wanted = settings.reconstruction
    expected = {
        'num_samples': wanted.num_samples,
        'interval': wanted.interval,
        'seed': wanted.seed,
        'temperature': model.temperature,
        'spacing_mm': wanted.output.spacing,
        'keep_contexts': wanted.output.keep_contexts,
        'canonical': wanted.output.canonical,
        'intensity': wanted.output.intensity,
        'selection': {
            name: list(way) for name, way in dataclasses.asdict(settings.selection).items() if way is not None
        },
    }
    for name, value in expected.items():
        if made_with.get(name) != value:
            raise UserError(
                f'{sidecar.parent}: was made with {name} {made_with.get(name)}, not {value}; --overwrite, or give '
                'another --output_dir.'
            )


def _predict_together(model: CompletionModel, contexts: dict[int, Contexts]) -> dict[int, np.ndarray]:
    """Returns the predicted means; those of subjects with the same positions are predicted at once.

    Where that fails there are none: each of these subjects is then predicted alone, and fails alone.
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
        # Out of memory, say: one subject may still be possible, and if not, its own failure is what is told.
        except Exception:
            logging.debug('%d subjects at once', len(members), exc_info=True)
            continue
        means |= dict(zip(members, predicted, strict=True))
    return means
