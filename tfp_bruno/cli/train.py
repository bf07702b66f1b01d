"""Trains a model on a folder of volumes, or on the built-in phantom population.

    bin/train --dataset=fetal --data_dir=VOLUMES --output_dir=RUN
    bin/train --output_dir=RUN --resume

Every flag of a preset can be overridden; --flagfile=FILE reads flags from a file. The run is ready for bin/evaluate and
bin/reconstruct as soon as the first checkpoint is written.
"""

import dataclasses
import pathlib

from absl import flags, logging

from tfp_bruno import data
from tfp_bruno.cli import app, train_settings
from tfp_bruno.cli import train_flags as given
from tfp_bruno.cli.populations import load_volumes
from tfp_bruno.data.atomic import check_writable
from tfp_bruno.errors import UserError

flags.adopt_module_key_flags(given)


def main(argv):
    """Trains as the flags say.

    Args:
        argv: the command and what is left of its arguments after the flags.

    Raises:
        UserError: if a flag, a file or a folder cannot be used.
    """
    if len(argv) > 1:
        raise UserError(f'{argv[1]}: is no flag; see --help.')
    folder = pathlib.Path(given.OUTPUT_DIR.value)
    definition = _read_definition()
    if not given.RESUME.value:
        train_settings.check_own_flags()
    _check_folder(folder)
    if given.DATA_DIR.value is not None:
        data.check_folder(given.DATA_DIR.value, given.USE_MASKS.value)
    elif not given.RESUME.value:
        _check_needs_data_dir(given.USE_MASKS, given.ASSUME_RAS)
    # TensorFlow takes seconds to import: everything above fails, if it must, at once.
    app.import_tensorflow()
    from tfp_bruno import runs
    from tfp_bruno.training.run import train_run

    if given.RESUME.value:
        run = train_settings.resumed_run(runs.read_run(folder))
        splits = data.read_split(run.split_file)
    else:
        run, splits = train_settings.new_run(folder, definition), None
    population = load_volumes(
        run.definition,
        given.DATA_DIR.value or run.info['data_dir'],
        run.info['phantom_subjects'],
        cache_dir=given.CACHE_DIR.value,
        seed=run.info['seed'],
        splits=splits,
        **data.reading_of(run.info),
    )
    logging.info('Data: %s.', population.description)
    if not given.RESUME.value:
        run = dataclasses.replace(
            run,
            info={
                **run.info,
                'data': population.description,
                'is_phantom': population.is_phantom,
                'frame': None if population.frame is None else population.frame.to_json(),
            },
        )
        runs.write_run(run)
        data.write_split(run.split_file, population.splits_by_name)
    train_run(run, population, given.DEVICES.value, given.CACHE_DIR.value or data.default_cache_dir())
    print(folder)


def _read_definition():
    if given.DATASET_CONFIG.value is None:
        return data.get_definition(given.DATASET.value)
    if given.DATASET.present:
        raise UserError('--dataset, --dataset_config: exclude each other; leave one out.')
    if given.DATA_DIR.value is None:
        raise UserError('--data_dir: is missing; there are phantoms of the named datasets only.')
    return data.read_definition(given.DATASET_CONFIG.value)


def _check_needs_data_dir(*chosen):
    for flag in chosen:
        if flag.value:
            raise UserError(f'--{flag.name}: goes with --data_dir only; leave it out for the built-in phantoms.')


def _check_folder(folder):
    if given.RESUME.value:
        if not (folder / 'run.json').is_file():
            raise UserError(f'--output_dir={folder}: holds no run to resume; leave --resume out to start one.')
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f'--output_dir={folder}: exists and is not empty; give another folder, or --resume.')
    check_writable(folder, 'output_dir')


def run():
    """Runs the command line."""
    app.run_main(main)
