"""Loads the volumes of a command: those of a folder, or the built-in phantoms without one."""

import os
from typing import Any

from tfp_bruno.data import DatasetDefinition, Population, load_population

__all__ = ['load_volumes']


def load_volumes(
    definition: DatasetDefinition, data_dir: str | os.PathLike | None, phantom_subjects: int = 120, **settings: Any
) -> Population:
    """Loads the population of a folder, or the built-in phantoms.

    Args:
        definition: The dataset.
        data_dir: Folder of volumes; None for the phantoms of that anatomy.
        phantom_subjects: Number of phantoms.
        **settings: Further arguments of `load_population`.

    Returns:
        The population.

    Raises:
        UserError: If `load_population` raises it.
    """
    if data_dir is not None:
        return load_population(definition, data_dir, **settings)
    # Imported here, because a folder of volumes does not need it.
    from tfp_bruno.phantoms import load_phantoms

    return load_phantoms(definition, phantom_subjects, **settings)
