"""Loads the training subjects of a run and the subjects that it is evaluated on."""

import dataclasses
import os
import pathlib

from tfp_bruno import data
from tfp_bruno.cli.loading import load_volumes, read_splits
from tfp_bruno.contracts import CompletionModel
from tfp_bruno.errors import UserError, warn


@dataclasses.dataclass(frozen=True)
class Selection:
    """The subjects to evaluate on: the flags of `bin/evaluate` of the same names.

    Attributes:
        data_dir: Folder of other volumes; None for those of the run.
        train_data_dir: Folder of the training volumes; None for that of the run.
        split: 'train', 'validation', 'test' or 'all'.
        max_subjects: Number of subjects; None for all.
        cache_dir: Folder of the cache; None for that of the user.
        with_baselines: Whether baselines need the training volumes.
    """

    data_dir: str | None
    train_data_dir: str | None
    split: str
    max_subjects: int | None
    cache_dir: str | None
    with_baselines: bool


def load_populations(model: CompletionModel, selection: Selection) -> tuple[data.Population, data.Population]:
    """Loads the training subjects of the run and the subjects to evaluate on.

    Args:
        model: The trained model; its `info` names the training data.
        selection: Which subjects.

    Returns:
        The two populations. The baselines are fitted to the first: training and validation subjects, since the
        baselines have no validation of their own, or training subjects alone where the validation subjects are scored.
        It is empty for an exported model whose training volumes are elsewhere, without baselines.

    Raises:
        UserError: If the data cannot be loaded, or the split is empty.
    """
    info = model.info
    train_dir = selection.train_data_dir or info.data_dir
    if info.split is not None and train_dir is not None and not pathlib.Path(train_dir).exists():
        return without_training_volumes(model, train_dir, selection)
    own = load_volumes(model.definition, info, train_dir, selection.cache_dir, read_splits(info))
    if selection.data_dir is None or is_same_folder(selection.data_dir, train_dir):
        evaluated = own
    else:
        evaluated = load_volumes(model.definition, info, selection.data_dir, selection.cache_dir, needs_split=False)
    fitted = ('train',) if selection.split == 'validation' else ('train', 'validation')
    return own.subset(*fitted), first_subjects(evaluated.subset(selection.split), selection.max_subjects)


def without_training_volumes(
    model: CompletionModel, train_dir: str, selection: Selection
) -> tuple[data.Population, data.Population]:
    """Loads other subjects to evaluate an exported model on, where its training volumes are missing.

    Args:
        model: The exported model.
        train_dir: Folder of its training volumes, which does not exist.
        selection: Which subjects.

    Returns:
        An empty population, and that of `--data_dir`.

    Raises:
        UserError: If there is no `--data_dir`, the baselines are wanted, or the data cannot be loaded.
    """
    if selection.data_dir is None or selection.with_baselines:
        raise UserError(
            f'{train_dir}: there is no such folder of training volumes; give it in --train_data_dir, or evaluate other '
            'volumes with --data_dir and --baselines=False.'
        )
    warn(f'{train_dir}: there is no such folder; whether the model was trained on the scored subjects is not checked.')
    evaluated = load_volumes(model.definition, model.info, selection.data_dir, selection.cache_dir, needs_split=False)
    return first_subjects(evaluated, 0), first_subjects(evaluated.subset(selection.split), selection.max_subjects)


def is_same_folder(data_dir: str, train_dir: str | None) -> bool:
    """Returns whether `--data_dir` is the folder of the training data, which is None for the built-in phantoms."""
    return train_dir is not None and os.path.realpath(data_dir) == os.path.realpath(train_dir)


def first_subjects(population: data.Population, count: int | None) -> data.Population:
    """Returns the first `count` subjects of a population; all if it is None."""
    return dataclasses.replace(
        population,
        images=population.images[:count],
        names=population.names[:count],
        splits=population.splits[:count],
    )
