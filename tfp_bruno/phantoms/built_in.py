"""The built-in phantom population, for those who have no volumes: made once, then read like any other."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from absl import logging

from tfp_bruno.data import DatasetDefinition, Population, default_cache_dir, load_population
from tfp_bruno.data.atomic import check_writable
from tfp_bruno.errors import UserError
from tfp_bruno.phantoms.population import write_population
from tfp_bruno.phantoms.subject import PHANTOM_VERSION


def load_phantoms(
    definition: DatasetDefinition,
    subjects: int,
    cache_dir: str | os.PathLike | None = None,
    seed: int = 0,
    jobs: int = 2,
    **settings: Any,
) -> Population:
    """Loads the built-in population of an anatomy.

    Args:
        definition: the dataset; its name is that of the anatomy.
        subjects: how many.
        cache_dir: folder of the cache, in which the volumes stay, too; None stands for `default_cache_dir()`.
        seed: of the phantoms and of their split.
        jobs: number of processes that make them, and of threads that read them.
        **settings: of `load_population`.

    Returns:
        The Population.

    Raises:
        UserError: as of `load_population`.
    """
    cache_dir = default_cache_dir() if cache_dir is None else pathlib.Path(cache_dir)
    with _folder(definition.name, cache_dir, subjects, seed, jobs) as folder:
        population = load_population(definition, folder, cache_dir, seed, jobs, **settings)
    description = f'built-in phantom population (synthetic), {subjects} subjects, seed {seed}'
    return dataclasses.replace(population, is_phantom=True, description=description)


@contextlib.contextmanager
def _folder(dataset: str, cache_dir: pathlib.Path, subjects: int, seed: int, jobs: int) -> Iterator[pathlib.Path]:
    """Gives the folder of the volumes: the cached one, made if need be, or a temporary one without a cache."""
    name = f'{dataset}-{subjects}-{seed}-v{PHANTOM_VERSION}'
    folder = cache_dir / 'phantoms' / name
    if folder.is_dir():
        yield folder
        return
    with tempfile.TemporaryDirectory(dir=_writable(folder.parent), prefix='.tmp-') as scratch:
        made = pathlib.Path(scratch) / name
        write_population(dataset, made, subjects, seed, jobs)
        with contextlib.suppress(OSError):
            made.replace(folder)
        yield folder if folder.is_dir() else made


def _writable(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns a folder, made if need be, or None (the system's temporary one) if it cannot be written."""
    try:
        check_writable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except (OSError, UserError) as error:
        logging.warning('The phantom population is not cached: %s', error)
        return None
