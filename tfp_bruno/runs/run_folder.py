"""The folder of a training run: its files and its settings."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import filelock

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.data.atomic import write_text
from tfp_bruno.data.plain_text import check_run_name
from tfp_bruno.errors import UserError
from tfp_bruno.models import ModelSettings
from tfp_bruno.runs.kinds import KINDS, kind_of
from tfp_bruno.runs.training_settings import TrainingSettings
from tfp_bruno.runs.weights import fingerprint, newest_weights
from tfp_bruno.settings import structure
from tfp_bruno.version import __version__

# A lock that the operating system releases when its process ends, however it ends.
LOCK_NAME = '.lock'
_FORMAT = 5


@dataclasses.dataclass(frozen=True)
class Run:
    """The settings of a training run, and the paths of its files.

    Attributes:
        folder: Folder of the run, or the path of an exported model.
        definition: The dataset.
        model: Settings of a kind of model, see `KINDS`.
        training: Settings of the training.
        info: The training data.
    """

    folder: pathlib.Path
    definition: DatasetDefinition
    model: Any
    training: TrainingSettings
    info: RunInfo

    @property
    def kind(self) -> str:
        """The kind of the model: 'bruno', 'gqn' or 'cvae'."""
        return kind_of(self.model)

    @property
    def has_places(self) -> bool:
        """Whether the poses of the model are places in a canonical volume."""
        return getattr(self.model, 'grid', None) is not None

    @property
    def settings_file(self) -> pathlib.Path:
        """The settings, JSON."""
        return self.folder / 'run.json'

    @property
    def split_file(self) -> pathlib.Path:
        """The split of the subjects, TSV."""
        return self.folder / 'split.tsv'

    @property
    def weights(self) -> pathlib.Path:
        """Prefix of the newest averaged weights, a TensorFlow checkpoint."""
        return newest_weights(self.folder / 'weights')

    @property
    def loadings(self) -> pathlib.Path:
        """The loadings of a factor process, see `runs.loadings`; earlier versions kept them with the weights."""
        return self.folder / 'loadings.safetensors'

    @property
    def registration(self) -> pathlib.Path:
        """What finds the map of a new subject, see `registration.MapFinder`; only of models of a canonical volume."""
        return self.folder / 'registration.npz'

    @property
    def registration_report(self) -> pathlib.Path:
        """The page on the registration of the training subjects, HTML; only of models of a canonical volume."""
        return self.folder / 'registration.html'

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of the training state."""
        return self.folder / 'checkpoints'

    @property
    def learning_curve(self) -> pathlib.Path:
        """The learning curve, one line of JSON for each point."""
        return self.folder / 'learning_curve.jsonl'

    @property
    def residual_scale(self) -> pathlib.Path:
        """The scale of the residual's variance that was fitted to held-out subjects, and the weights that have it."""
        return self.folder / 'residual_scale.json'

    @property
    def logs(self) -> pathlib.Path:
        """Folder of the TensorBoard logs."""
        return self.folder / 'logs'


@contextlib.contextmanager
def lock_run(folder: pathlib.Path) -> Iterator[None]:
    """Keeps others from training in the folder of a run; a folder that stays empty is removed.

    Args:
        folder: The folder, made if it is missing.

    Raises:
        UserError: If another process trains there, or the folder cannot be written.
    """
    path = folder / LOCK_NAME
    lock = filelock.FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UserError(
            f'{folder}: another training writes to it; wait until it has ended, or give another folder.'
        ) from error
    except OSError as error:
        raise UserError(f'{folder}: cannot be written ({error.strerror}); give a folder you can write.') from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()


def write_run(run: Run) -> None:
    """Writes the settings of a run into its folder."""
    info = dataclasses.asdict(run.info)
    # Not stored: `read_run` finds them in the folder, which can be moved, and whose weights change.
    del info['split_file'], info['split'], info['weights']
    values = {
        'format': _FORMAT,
        'kind': run.kind,
        'dataset': dataclasses.asdict(run.definition),
        'model': dataclasses.asdict(run.model),
        'training': dataclasses.asdict(run.training),
        'info': {**info, 'version': __version__},
    }
    write_text(run.settings_file, json.dumps(values, indent=2) + '\n')


def read_run(folder: str | os.PathLike) -> Run:
    """Reads the settings of a run.

    Args:
        folder: The folder of the run.

    Raises:
        UserError: If the folder is not that of a run, or its name cannot be that of one.
    """
    folder = pathlib.Path(folder)
    check_run_name(folder)
    path = folder / 'run.json'
    try:
        text = path.read_text(encoding='utf-8')
    except OSError as error:
        raise UserError(
            f'{folder}: is not the folder of a run ({path.name}: {error.strerror}); give the output folder of a '
            'training.'
        ) from error
    except ValueError as error:
        raise UserError(f'{path}: is damaged ({error!r:.100}); train the run again.') from error
    weights = fingerprint(newest_weights(folder / 'weights'), folder / 'loadings.safetensors')
    return parse_run(text, folder, str(path), split_file=str(folder / 'split.tsv'), weights=weights)


def parse_run(text: str, folder: pathlib.Path, place: str, **info_of_place: Any) -> Run:
    """Returns the settings of a run from the text of its `run.json`.

    Args:
        text: The text.
        folder: Folder of the run, or the path of an exported model.
        place: Where the text is from, for messages.
        **info_of_place: Entries of `RunInfo` that are not in the text.

    Raises:
        UserError: If the text is damaged, or of another format.
    """
    try:
        values = json.loads(text)
        if values['format'] == 4:
            values = _from_format_4(values)
        if values['format'] != _FORMAT:
            raise UserError(f'{place}: was written in format {values["format"]}, not {_FORMAT}; train the run again.')
        kind = KINDS[values['kind']]
        # Settings that runs of this format may lack, with the values that they had in effect.
        training = values['training']
        values['training'] = {
            'validation_share': 0.0,
            'keep_best': False,
            'context_sets': 1500,
            'poses': 'stack',
            'fits_residual': False,
            **training,
        }
        if kind.settings is ModelSettings:
            has_places = values['model'].get('pose', {}).get('architecture', 'one_hot') != 'one_hot'
            lacking = {'pose': {'architecture': 'one_hot'}, 'latents': 'pixels' if has_places else 'flow'}
            values['model'] = {**lacking, **values['model']}
            if isinstance(values['model'].get('flow'), dict):
                values['model']['flow'] = {'recompute': False, **values['model']['flow']}
            values['training']['objective'] = {'min_contexts': 0, **training['objective']}
        dataset, model, training, info = (values[name] for name in ('dataset', 'model', 'training', 'info'))
        info = {**info, **info_of_place}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{place}: is damaged ({error!r:.100}); train the run again.') from error
    try:
        return Run(
            folder,
            structure(DatasetDefinition, dataset, place, 'dataset', complete=True),
            structure(kind.settings, model, place, 'model', complete=True),
            structure(kind.training, training, place, 'training', complete=True),
            structure(RunInfo, info, place, 'info'),
        )
    except UserError as error:
        raise UserError(f'{error} The file is damaged; train the run again.') from error


def _from_format_4(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a run that was written with a `law` for its process."""
    model = dict(values['model'])
    law = model.pop('law', None)
    if law == 'gaussian':
        model['df'] = None
    if 'pose_size' in model:
        model['num_slices'] = model.pop('pose_size')
    return {**values, 'format': 5, 'kind': values.get('kind', 'bruno'), 'model': model}
