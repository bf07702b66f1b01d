"""The folder of a training run: what lies where, and its settings."""

import dataclasses
import json
import operator
import pathlib

from tfp_bruno.data import DatasetDefinition
from tfp_bruno.data.atomic import write_text
from tfp_bruno.errors import UserError
from tfp_bruno.runs.kinds import KINDS, kind_of
from tfp_bruno.version import __version__

__all__ = ['Run', 'read_run', 'write_run']

_FORMAT = 4
# What others read from a run without asking whether it is there.
_NEEDED = {
    'training': ('sequence_length', 'seed'),
    'info': ('data_dir', 'data', 'is_phantom', 'phantom_subjects', 'seed', 'preset'),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run was made from.

    Attributes:
        folder: Its folder.
        definition: `DatasetDefinition`.
        model: Settings of a kind of model, see `kinds`.
        training: Dict of the training settings.
        info: Dict: `data_dir` (or None), `data` (a description), `is_phantom`, `phantom_subjects`, `seed`,
            `split_file`, `preset`, `version`, `use_masks` and `assume_ras` (of newer runs).
    """

    folder: pathlib.Path
    definition: DatasetDefinition
    model: object
    training: dict
    info: dict

    @property
    def kind(self):
        """The kind of the model: 'bruno', 'gqn' or 'cvae'."""
        return kind_of(self.model)

    @property
    def settings_file(self):
        """The settings, JSON."""
        return self.folder / 'run.json'

    @property
    def split_file(self):
        """The split of the subjects, TSV."""
        return self.folder / 'split.tsv'

    @property
    def weights(self):
        """Prefix of the averaged weights, a TensorFlow checkpoint."""
        return self.folder / 'weights' / 'model'

    @property
    def checkpoints(self):
        """Folder of the training state."""
        return self.folder / 'checkpoints'

    @property
    def logs(self):
        """Folder of the TensorBoard logs."""
        return self.folder / 'logs'


def write_run(run):
    """Writes the settings of a run into its folder."""
    values = {
        'format': _FORMAT,
        'kind': run.kind,
        'dataset': run.definition.to_json(),
        'model': run.model.to_json(),
        'training': run.training,
        'info': {**run.info, 'version': __version__},
    }
    write_text(run.settings_file, json.dumps(values, indent=2) + '\n')


def read_run(folder):
    """Reads the settings of a run.

    Args:
        folder: Path of the `--output_dir` of `bin/train`.

    Returns:
        A `Run`.

    Raises:
        UserError: if the folder is not one of a run.
    """
    folder = pathlib.Path(folder)
    path = folder / 'run.json'
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
        if values['format'] != _FORMAT:
            raise UserError(f'{path}: was written in format {values["format"]}, not {_FORMAT}; train the run again.')
        for section, names in _NEEDED.items():
            operator.itemgetter(*names)(values[section])
        # Runs from before there were other kinds do not name theirs.
        kind = values.get('kind', 'bruno')
        if kind != 'bruno':
            operator.itemgetter('last_std')(values['training']['objective'])
        info = {**values['info'], 'split_file': str(folder / 'split.tsv')}
        return Run(
            folder=folder,
            definition=DatasetDefinition.from_json(values['dataset']),
            model=KINDS[kind].settings.from_json(values['model']),
            training=values['training'],
            info=info,
        )
    except OSError as error:
        raise UserError(
            f'{folder}: is not the folder of a run ({path.name}: {error.strerror}); give the --output_dir of bin/train.'
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: is damaged ({error!r:.100}); train the run again.') from error
