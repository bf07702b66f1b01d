"""Whole studies: every subject of a folder, going on after one that fails, and not twice."""

import concurrent.futures
import dataclasses
import io
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import matplotlib.image
import numpy as np
from absl import logging
from scipy import ndimage
from tqdm import tqdm

from tfp_bruno.data import Subject, atomic, read_mask, read_volume
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.version import __version__
from tfp_bruno.volumes import html_report
from tfp_bruno.volumes.contexts import Contexts, contexts_of_scan
from tfp_bruno.volumes.positions import SliceSelection
from tfp_bruno.volumes.reconstruction import SIDECAR, ReconstructionSettings, reconstruct
from tfp_bruno.volumes.reference import training_frame

# Subjects that are read, and whose means are predicted, at once.
BATCH = 8
_READERS = 2


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """How a study is completed.

    Attributes:
        selection: which slices of every scan are its contexts.
        use_masks: whether each scan has a mask beside it, of the same name with `mask` for its last part.
        assume_ras: take a scan that has no orientation as RAS, centred at world 0.
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
    """Returns the output folder of each volume: that of its subject, or one below where a subject has several."""
    names = [subject.name for subject in subjects]
    stems = [subject.path.name.removesuffix('.gz').removesuffix('.nii') for subject in subjects]
    return [
        output_dir / name if names.count(name) == 1 else output_dir / name / stem
        for name, stem in zip(names, stems, strict=True)
    ]


def reconstruct_study(
    model,
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
    """
    outcomes = []
    folders = subject_folders(subjects, output_dir)
    with tqdm(total=len(subjects), desc='subjects', unit='subject', disable=None if progress else True) as bar:
        for pairs in _batches(zip(subjects, folders, strict=True), BATCH):
            for outcome in _reconstruct_batch(model, pairs, settings, scorer):
                if outcome.error:
                    logging.warning('%s failed: %s', outcome.subject.name, outcome.error)
                outcomes.append(outcome)
                bar.update()
    return outcomes


def write_study_report(output_dir: pathlib.Path, outcomes: Sequence[Outcome], title: str, command: str) -> None:
    """Writes `report.html` and `dataset_description.json` of a study."""
    states = [outcome.state for outcome in outcomes]
    page = html_report.render(
        'study',
        title,
        {},
        rows=[_row(outcome, output_dir) for outcome in outcomes],
        done=len(states) - states.count('failed'),
        skipped=states.count('complete before'),
        failed=states.count('failed'),
        command=command,
    )
    description = {
        'Name': title,
        'BIDSVersion': '1.9.0',
        'DatasetType': 'derivative',
        'GeneratedBy': [{'Name': 'tfp_bruno', 'Version': __version__}],
    }
    atomic.write_text(output_dir / 'dataset_description.json', json.dumps(description, indent=2) + '\n')
    atomic.write_text(output_dir / 'report.html', page)


def _batches(pairs: Iterator, size: int) -> Iterator[list]:
    """Gives lists of up to `size` elements."""
    pairs = iter(pairs)
    while batch := list(itertools.islice(pairs, size)):
        yield batch


def _reconstruct_batch(model, pairs, settings: StudySettings, scorer) -> list[Outcome]:
    """Completes a few subjects: read in threads, their means predicted together, written one by one."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as executor:
        read = list(executor.map(lambda pair: _guarded(*pair, _read, model, *pair, settings), pairs))
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


def _read(model, subject: Subject, folder: pathlib.Path, settings: StudySettings) -> Contexts | None:
    """Returns the contexts of a subject, or None if it is complete."""
    if not settings.reconstruction.overwrite and (folder / SIDECAR).exists():
        _check_same_settings(folder / SIDECAR, model, settings)
        return None
    with collect_warnings() as warnings:
        scan = read_volume(subject.path, settings.assume_ras)
        mask = read_mask(mask_path(subject.path), scan) if settings.use_masks else None
        contexts = contexts_of_scan(scan, settings.selection, model.definition, mask, training_frame(model.info))
    return dataclasses.replace(contexts, warnings=warnings)


def mask_path(path: pathlib.Path) -> pathlib.Path:
    """Returns where the mask of a scan lies: beside it, `mask` for the last part of its name (`sub-01_T2w.nii.gz`)."""
    suffix = '.nii.gz' if path.name.endswith('.gz') else '.nii'
    stem = path.name.removesuffix(suffix)
    return path.with_name(f'{stem.rpartition("_")[0] or stem}_mask{suffix}')


def _check_same_settings(sidecar: pathlib.Path, model, settings: StudySettings) -> None:
    """Raises a UserError if a complete subject was made with other settings."""
    try:
        before = json.loads(sidecar.read_text(encoding='utf-8'))
        # Sidecars of before there was a temperature do not name it.
        made_with = {'temperature': 1.0, **before, 'intensity': before['intensity']['kind']}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{sidecar}: is damaged ({error!r:.80}); remove its folder, or --overwrite.') from error
    wanted = settings.reconstruction
    expected = {
        'num_samples': wanted.num_samples,
        'interval': wanted.interval,
        'seed': wanted.seed,
        'temperature': getattr(model, 'temperature', 1.0),
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


def _predict_together(model, contexts: dict[int, Contexts]) -> dict[int, np.ndarray]:
    """Returns the predicted means; those of subjects with the same positions are predicted at once.

    Where that fails there are none: each of these subjects is then predicted alone, and fails alone.
    """
    means = {}
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


def _row(outcome: Outcome, output_dir: pathlib.Path) -> dict:
    """Returns a line of the table of a study."""
    row = {
        'name': '/'.join(outcome.folder.relative_to(output_dir).parts),
        'state': outcome.state,
        'error': outcome.error,
        'report': None,
        'contexts': [],
        'warnings': [],
        'lowest': None,
        'picture': None,
    }
    if outcome.error:
        return row
    sidecar = json.loads((outcome.folder / SIDECAR).read_text(encoding='utf-8'))
    given = [line['anomaly_score'] for line in sidecar['scores'] or () if line['is_context']]
    report = outcome.folder / 'report.html'
    return row | {
        'report': report.relative_to(output_dir).as_posix() if report.exists() else None,
        'contexts': sidecar['contexts'],
        'warnings': sidecar.get('warnings', []),
        'lowest': min(given, default=None),
        'picture': html_report.encode_picture(_thumbnail(outcome.folder / 'mean.nii.gz')),
    }


def _thumbnail(path: pathlib.Path) -> bytes:
    """Returns a PNG of the middle axial, coronal and sagittal planes of a volume, right and anterior on the left."""
    data = read_volume(path).data
    data = data[ndimage.find_objects((data > 0).astype(np.uint8))[0]]
    planes = [np.take(data, data.shape[axis] // 2, axis)[::-2, ::-2].T for axis in (2, 1, 0)]
    height = max(plane.shape[0] for plane in planes)
    spare = [height - plane.shape[0] for plane in planes]
    padded = [np.pad(plane, ((rows // 2, rows - rows // 2), (2, 2))) for plane, rows in zip(planes, spare, strict=True)]
    buffer = io.BytesIO()
    picture = np.concatenate(padded, axis=1)
    matplotlib.image.imsave(
        buffer, picture, cmap='gray', vmin=0, vmax=np.percentile(data[data > 0], 99.8), format='png'
    )
    return buffer.getvalue()
