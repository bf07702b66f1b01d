"""The volumes of a run: those of a folder, or the built-in phantoms."""

import os
from collections.abc import Mapping

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import DatasetDefinition, Population, load_population

__all__ = ['load_volumes']


def load_volumes(
    definition: DatasetDefinition,
    info: RunInfo,
    data_dir: str | os.PathLike | None,
    cache_dir: str | os.PathLike | None,
    splits: Mapping[str, str] | None = None,
    needs_split: bool = True,
) -> Population:
    """Loads a population as a run reads its volumes.

    Args:
        definition: The dataset.
        info: What the run is about.
        data_dir: Folder of the volumes; None for the phantoms of that anatomy.
        cache_dir: Folder of the cache; None for that of the user.
        splits: Split of each subject by name; None to split them.
        needs_split: Whether subjects of a folder without a split are split; if not, all are test subjects.

    Raises:
        UserError: As `tfp_bruno.data.load_population`.
    """
    if data_dir is None:
        # Imported here, since the phantoms take time to import.
        from tfp_bruno.phantoms import load_phantoms

        return load_phantoms(definition, info.phantom_subjects, cache_dir, seed=info.seed, splits=splits)
    return load_population(
        definition,
        data_dir,
        cache_dir,
        seed=info.seed,
        splits=splits,
        needs_split=needs_split,
        use_masks=info.use_masks,
        assume_ras=info.assume_ras,
    )
