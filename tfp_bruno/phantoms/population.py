"""Populations of phantom subjects: written as a BIDS-like folder, or kept in the cache for users without volumes."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from tfp_bruno.data import DatasetDefinition, Population, default_cache_dir, load_population
from tfp_bruno.data.atomic import check_writable
from tfp_bruno.data.definitions import get_definition
from tfp_bruno.data.nifti import write_volume
from tfp_bruno.data.participants import format_table
from tfp_bruno.data.population import PHANTOM_GENERATOR
from tfp_bruno.errors import UserError
from tfp_bruno.phantoms.subject import PHANTOM_VERSION, SUFFIXES, generate
from tfp_bruno.version import __version__

LINES_EVERY = 25
# Intensities are rounded to steps of 1 / STEPS; few distinct values compress well.
STEPS = {'fetal': 1000.0, 'adni': 1000.0, 'thorax': 1.0}


def write_population(
    dataset: str,
    output_dir: str | os.PathLike,
    subjects: int,
    seed: int = 0,
    jobs: int = 2,
    test_share: float | None = None,
) -> None:
    """Writes a population of synthetic subjects, completely or not at all.

    The folder holds `participants.tsv` (participant_id, split, seed and facts such as the gestational age),
    `dataset_description.json`, which marks the data as synthetic, and for every subject
    `sub-0001/anat/sub-0001_T2w.nii.gz` (fetal; T1w for adni, CT for thorax) and `..._mask.nii.gz`.

    Args:
        dataset: 'fetal', 'adni' or 'thorax'.
        output_dir: Folder to write; it must not exist yet, or be empty.
        subjects: Number of subjects, at least 2.
        seed: At least 0; the same arguments give the same volumes.
        jobs: Number of worker processes.
        test_share: Share of the subjects, the last ones, in the test split; None for that of the definition. There is
            always at least one test and one training subject.

    Raises:
        UserError: If an argument is out of range, or `output_dir` is not empty or cannot be written.
    """
    definition = get_definition(dataset)
    _check_numbers(subjects, seed, jobs)
    output_dir = pathlib.Path(output_dir).absolute()
    _check_folder(output_dir)
    share = definition.test_share if test_share is None else test_share
    num_test = int(np.clip(round(share * subjects), 1, subjects - 1))
    seeds = np.random.SeedSequence(seed).generate_state(subjects)
    try:
        output_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=f'.{output_dir.name}-') as scratch:
            folder = pathlib.Path(scratch) / output_dir.name
            rows = _write_subjects(dataset, folder, [int(value) for value in seeds], jobs)
            for index, row in enumerate(rows):
                row['split'] = 'test' if index >= subjects - num_test else 'train'
            _write_tables(folder, dataset, rows, seed)
            folder.rename(output_dir)
    except OSError as error:
        raise UserError(
            f'`output_dir={output_dir}`: cannot be written ({error.strerror or error}); give a folder you can write.'
        ) from error


def load_phantoms(
    definition: DatasetDefinition,
    subjects: int,
    cache_dir: str | os.PathLike | None = None,
    seed: int = 0,
    jobs: int = 2,
    **settings: Any,
) -> Population:
    """Loads the built-in population of an anatomy; it is made once, then read like any other.

    Args:
        definition: The dataset; its name is that of the anatomy.
        subjects: Number of subjects.
        cache_dir: Folder of the cache, which keeps the volumes, too; None stands for `default_cache_dir()`.
        seed: Seed of the phantoms and of their split.
        jobs: Number of processes that make them, and of threads that read them.
        **settings: Further arguments of `load_population`.

    Returns:
        The population.

    Raises:
        UserError: If `load_population` raises it.
    """
    cache_dir = default_cache_dir() if cache_dir is None else pathlib.Path(cache_dir)
    with _cached_folder(definition.name, cache_dir, subjects, seed, jobs) as folder:
        population = load_population(definition, folder, cache_dir, seed, jobs, **settings)
    description = f'built-in phantom population (synthetic), {subjects} subjects, seed {seed}'
    return dataclasses.replace(population, is_phantom=True, description=description)


def _check_numbers(subjects: int, seed: int, jobs: int) -> None:
    """Raises a UserError if a number is out of range."""
    for name, value, least in (('subjects', subjects, 2), ('seed', seed, 0), ('jobs', jobs, 1)):
        if value < least:
            raise UserError(f'`{name}={value}`: must be at least {least}.')


def _check_folder(output_dir: pathlib.Path) -> None:
    """Raises a UserError if the folder is a file or is not empty."""
    if output_dir.is_dir():
        if any(output_dir.iterdir()):
            raise UserError(
                f'`output_dir={output_dir}`: exists and is not empty; give a new folder or remove it first.'
            )
    elif output_dir.exists():
        raise UserError(f'`output_dir={output_dir}`: is a file; give a new folder.')


def _write_subjects(dataset: str, folder: pathlib.Path, seeds: Sequence[int], jobs: int) -> list[dict[str, Any]]:
    """Writes the volumes of all subjects; returns their rows of participants.tsv."""
    names = [f'sub-{index + 1:04d}' for index in range(len(seeds))]
    bar = tqdm(total=len(seeds), desc=f'{dataset} phantom', unit='subject', disable=not sys.stderr.isatty())
    rows = []
    with bar, _worker_map(min(jobs, len(seeds))) as run:
        for row in run(functools.partial(_write_subject, dataset, folder), names, seeds):
            rows.append(row)
            bar.update()
            if bar.disable and (len(rows) % LINES_EVERY == 0 or len(rows) == len(seeds)):
                print(f'{dataset} phantom: {len(rows)}/{len(seeds)} subjects', file=sys.stderr, flush=True)
    return rows


@contextlib.contextmanager
def _worker_map(jobs: int) -> Iterator[Callable[..., Iterable[dict[str, Any]]]]:
    """Yields a `map` over worker processes; a single job runs in this process."""
    if jobs == 1:
        yield map
        return
    # Spawned, not forked, because the caller may have started TensorFlow's threads.
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(jobs, context, _end_with_parent) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Makes a worker end when its parent process is killed, instead of waiting for work forever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError('only a worker process ends with its parent')

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_subject(dataset: str, folder: pathlib.Path, name: str, seed: int) -> dict[str, Any]:
    """Writes one subject; returns its row of participants.tsv."""
    made = generate(dataset, seed)
    anat = folder / name / 'anat'
    anat.mkdir(parents=True)
    steps = np.float32(STEPS[dataset])
    image = np.round(made.image * steps) / steps
    write_volume(anat / f'{name}_{SUFFIXES[dataset]}.nii.gz', image, made.affine)
    write_volume(anat / f'{name}_mask.nii.gz', made.mask.astype(np.uint8), made.affine)
    return {'participant_id': name, 'split': None, 'seed': seed, **made.facts}


def _write_tables(folder: pathlib.Path, dataset: str, rows: Sequence[dict[str, Any]], seed: int) -> None:
    """Writes participants.tsv and dataset_description.json."""
    table = format_table(rows[0], [row.values() for row in rows])
    (folder / 'participants.tsv').write_text(table, encoding='utf-8')
    description = {
        'Name': f'Synthetic {dataset} population, seed {seed}',
        'BIDSVersion': '1.9.0',
        'DatasetType': 'derivative',
        'Phantom': True,
        'GeneratedBy': [{'Name': PHANTOM_GENERATOR, 'Version': __version__, 'PhantomVersion': PHANTOM_VERSION}],
    }
    (folder / 'dataset_description.json').write_text(json.dumps(description, indent=2) + '\n', encoding='utf-8')


@contextlib.contextmanager
def _cached_folder(
    dataset: str, cache_dir: pathlib.Path, subjects: int, seed: int, jobs: int
) -> Iterator[pathlib.Path]:
    """Yields the folder of the volumes: in the cache, made if it is missing, or a temporary one without a cache."""
    name = f'{dataset}-{subjects}-{seed}-v{PHANTOM_VERSION}'
    folder = cache_dir / 'phantoms' / name
    if folder.is_dir():
        yield folder
        return
    with contextlib.ExitStack() as stack:

        def make(parent: pathlib.Path | None) -> pathlib.Path:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=parent, prefix='.tmp-'))
            write_population(dataset, pathlib.Path(scratch) / name, subjects, seed, jobs)
            return pathlib.Path(scratch) / name

        parent = _writable(folder.parent)
        try:
            made = make(parent)
        except UserError as error:
            # The disk of the cache is full, perhaps.
            if parent is None:
                raise
            logging.warning('The phantom population is not cached: %s', error)
            made = make(None)
        with contextlib.suppress(OSError):
            made.replace(folder)
        yield folder if folder.is_dir() else made


def _writable(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the folder, made if it is missing, or None (the system's temporary one) if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
        return folder
    except (OSError, UserError) as error:
        logging.warning('The phantom population is not cached: %s', error)
        return None
