"""A population of phantom subjects as a BIDS-like folder, written whole or not at all."""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import sys
import tempfile
import threading

import numpy as np
from tqdm import tqdm

from tfp_bruno.data.dataset_file import get_definition
from tfp_bruno.data.nifti import write_volume
from tfp_bruno.data.participants import format_table
from tfp_bruno.data.population import PHANTOM_GENERATOR
from tfp_bruno.errors import UserError
from tfp_bruno.phantoms.subject import PHANTOM_VERSION, SUFFIXES, generate
from tfp_bruno.version import __version__

LINES_EVERY = 25
# Steps to which intensities are rounded; few distinct values compress well.
STEPS = {'fetal': 1000.0, 'adni': 1000.0, 'thorax': 1.0}


def write_population(dataset, output_dir, subjects, seed=0, jobs=2, test_share=None):
    """Writes a population of synthetic subjects.

    The folder holds `participants.tsv` (participant_id, split, seed and facts such as the gestational age),
    `dataset_description.json`, which marks the data as synthetic, and for every subject
    `sub-0001/anat/sub-0001_T2w.nii.gz` (fetal; T1w for adni, CT for thorax) and `..._mask.nii.gz`.

    Args:
        dataset: 'fetal', 'adni' or 'thorax'.
        output_dir: folder to write; it must not exist yet, or be empty.
        subjects: number of subjects, at least 2.
        seed: non-negative integer; the same arguments give the same volumes.
        jobs: number of subjects made at the same time.
        test_share: share of the subjects, the last ones, in the test split; None takes that of the definition. There
            is always at least one test and one training subject.

    Raises:
        UserError: if an argument is out of range, or output_dir is in use or cannot be written.
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
            f'--output_dir={output_dir}: cannot be written ({error.strerror or error}); give a folder you can write.'
        ) from error


def _check_numbers(subjects, seed, jobs):
    """Raises a UserError if a number is out of range."""
    for flag, value, least in (('subjects', subjects, 2), ('seed', seed, 0), ('jobs', jobs, 1)):
        if value < least:
            raise UserError(f'--{flag}={value}: must be at least {least}.')


def _check_folder(output_dir):
    """Raises a UserError if the folder is a file or holds anything."""
    if output_dir.is_dir():
        if any(output_dir.iterdir()):
            raise UserError(
                f'--output_dir={output_dir}: exists and is not empty; give a new folder or remove it first.'
            )
    elif output_dir.exists():
        raise UserError(f'--output_dir={output_dir}: is a file; give a new folder.')


def _write_subjects(dataset, folder, seeds, jobs):
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
def _worker_map(jobs):
    """Gives a `map` over worker processes; one job stays in this process."""
    if jobs == 1:
        yield map
        return
    # Spawned, not forked: the caller may have started TensorFlow's threads.
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(jobs, context, _end_with_parent) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _end_with_parent():
    """Makes a worker end when the process that started it was killed, instead of waiting for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError('only a worker process ends with its parent')

    def watch():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_subject(dataset, folder, name, seed):
    """Writes one subject; returns its row of participants.tsv."""
    made = generate(dataset, seed)
    anat = folder / name / 'anat'
    anat.mkdir(parents=True)
    steps = np.float32(STEPS[dataset])
    image = np.round(made.image * steps) / steps
    write_volume(anat / f'{name}_{SUFFIXES[dataset]}.nii.gz', image, made.affine)
    write_volume(anat / f'{name}_mask.nii.gz', made.mask.astype(np.uint8), made.affine)
    return {'participant_id': name, 'split': None, 'seed': seed, **made.facts}


def _write_tables(folder, dataset, rows, seed):
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
