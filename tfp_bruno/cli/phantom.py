"""Generates a population of synthetic volumes.

    bin/phantom --dataset=fetal --output_dir=POPULATION --subjects=100

The folder can be given to bin/train, bin/evaluate and bin/reconstruct like any other population.
"""

import pathlib
import signal
import sys

from absl import flags

from tfp_bruno import phantoms
from tfp_bruno.cli import app
from tfp_bruno.data.definitions import DEFINITIONS

DATASET = flags.DEFINE_enum('dataset', None, list(DEFINITIONS), 'Anatomy to generate.', required=True)
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder to write; it must not exist yet.', required=True)
SUBJECTS = flags.DEFINE_integer('subjects', 100, 'Number of subjects.', lower_bound=2)
SEED = flags.DEFINE_integer('seed', 0, 'Seed; the same seed gives the same volumes.', lower_bound=0)
JOBS = flags.DEFINE_integer('jobs', 2, 'Number of subjects generated in parallel.', lower_bound=1)


def main() -> None:
    """Generates the population that the flags describe.

    Raises:
        UserError: If a flag or the folder cannot be used.
    """
    # Exiting, instead of being killed, removes the unfinished folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    phantoms.write_population(DATASET.value, OUTPUT_DIR.value, SUBJECTS.value, SEED.value, JOBS.value)
    app.print_path(pathlib.Path(OUTPUT_DIR.value).absolute())


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
