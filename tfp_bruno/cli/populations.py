"""The volumes of a command: those of a folder, or the built-in phantoms where there is none."""

import os
from typing import Any

from tfp_bruno.data import DatasetDefinition, Population, load_population

__all__ = ['load_volumes']


def load_volumes(
    definition: DatasetDefinition, data_dir: str | os.PathLike | None, phantom_subjects: int = 120, **settings: Any
) -> Population:
    """Loads the population of a folder, or the built-in phantoms.

    Args:
        definition: the dataset.
        data_dir: folder of volumes; None for the phantoms of that anatomy.
        phantom_subjects: how many phantoms.
        **settings: of `load_population`.

    Returns:
        The Population.

    Raises:
        UserError: as of `load_population`.
    """
    if data_dir is not None:
        return load_population(definition, data_dir, **settings)
    # Imported here: only those who have no volumes wait for it.
    from tfp_bruno.phantoms import load_phantoms

    return load_phantoms(definition, phantom_subjects, **settings)
