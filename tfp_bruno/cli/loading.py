"""Loads the trained model and the volumes that a command works on."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from tfp_bruno.cli import app
from tfp_bruno.contracts import ALIGNMENTS, CompletionModel, LocatingModel, RunInfo
from tfp_bruno.data import DatasetDefinition, Population, load_population, read_split
from tfp_bruno.errors import UserError

# absl counts a flag that a function of this module defines among the flags of the command that calls the function.
flags.disclaim_key_flags()


def define_run_dir(required: bool = True) -> flags.FlagHolder[Any]:
    """Defines the flag `--run_dir` of a command that takes a trained model."""
    text = 'Trained model: the folder --output_dir of bin/train, or the file --output of bin/export.'
    return flags.DEFINE_string('run_dir', None, text, required=required)


def define_temperature() -> flags.FlagHolder[float]:
    """Defines the flag `--temperature` of a command that draws samples."""
    return flags.DEFINE_float(
        'temperature', 1.0, "Factor of the samples' deviations from the mean, in latent space.", lower_bound=0.0
    )


def define_align() -> flags.FlagHolder[str]:
    """Defines the flag `--align` of a command that completes subjects."""
    return flags.DEFINE_enum(
        'align',
        'auto',
        ALIGNMENTS,
        "How subjects are brought to the model's canonical volume: none, similarity (place, size, rotation), affine "
        '(also sizes along each axis and shears), deformable (also shape); auto: deformable if the model has such a '
        'volume.',
    )


def define_shard(subjects: str) -> flags.FlagHolder[str | None]:
    """Defines the flag `--shard` of a command that works on many subjects, which the help names."""
    return flags.DEFINE_string(
        'shard',
        None,
        f'Work on one share of the subjects of {subjects} only: 2/8 is the second of eight. When all shards are done, '
        'call the command once more without --shard: it uses their results and writes the report.',
    )


def check_run_dir(run_dir: str | os.PathLike) -> None:
    """Raises a UserError if there is neither a folder nor a file at `--run_dir`."""
    if not pathlib.Path(run_dir).exists():
        raise UserError(
            f'--run_dir={run_dir}: there is no such folder or file; give the --output_dir of bin/train, or the '
            '--output of bin/export.'
        )


def load_model(run_dir: str | os.PathLike, temperature: float = 1.0, align: str = 'auto') -> CompletionModel:
    """Imports TensorFlow and loads the trained model of a run.

    TensorFlow takes seconds to import: check everything that does not need it before.

    Args:
        run_dir: Folder of the run, or the file of an exported model.
        temperature: Value of `--temperature`.
        align: Value of `--align`.

    Raises:
        UserError: If the run cannot be loaded, its model has no temperature and the given one is not 1, or it has no
            canonical volume and subjects are to be aligned with it.
    """
    app.import_tensorflow()
    from tfp_bruno.runs import load

    model = load(run_dir).with_temperature(temperature)
    if isinstance(model, LocatingModel):
        return model.with_alignment(align)
    if align not in ('auto', 'none'):
        raise UserError(f'`align={align}`: {model.name} has no canonical volume; leave it out.')
    return model


def read_splits(info: RunInfo) -> Mapping[str, str]:
    """Returns the split of the subjects of a run by name; raises a UserError if its file cannot be read."""
    return read_split(info.split_file) if info.split is None else info.split


def load_volumes(
    definition: DatasetDefinition,
    info: RunInfo,
    data_dir: str | os.PathLike | None,
    cache_dir: str | os.PathLike | None,
    splits: Mapping[str, str] | None = None,
    needs_split: bool = True,
    validation_share: float = 0.0,
) -> Population:
    """Loads a population in the way that a run reads its volumes.

    Args:
        definition: The dataset.
        info: The training data of the run: seed, masks and orientation.
        data_dir: Folder of the volumes; None for the built-in phantoms of the dataset.
        cache_dir: Folder of the cache; None for the cache of the user.
        splits: Split of each subject by name; None to split them.
        needs_split: Whether subjects of a folder without a split are split; if not, all are test subjects.
        validation_share: See `tfp_bruno.data.load_population`.

    Raises:
        UserError: As `tfp_bruno.data.load_population`.
    """
    if data_dir is None:
        # Imported here, since the phantoms take time to import.
        from tfp_bruno.phantoms import load_phantoms

        return load_phantoms(
            definition,
            info.phantom_subjects,
            cache_dir,
            seed=info.seed,
            splits=splits,
            validation_share=validation_share,
        )
    return load_population(
        definition,
        data_dir,
        cache_dir,
        seed=info.seed,
        splits=splits,
        needs_split=needs_split,
        use_masks=info.use_masks,
        assume_ras=info.assume_ras,
        validation_share=validation_share,
    )
