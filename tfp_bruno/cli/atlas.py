"""Writes the atlas of the population that a model was trained on.

    bin/atlas --run_dir=RUN --output_dir=ATLAS

Writes mean.nii.gz, std.nii.gz, mask.nii.gz, random subjects in samples/, the modes in which subjects differ in modes/,
mosaic.png, report.html and atlas.json, centred on world 0.
"""

import pathlib
import shlex
import sys

from absl import flags, logging

from tfp_bruno.cli import app
from tfp_bruno.cli.loading import check_run_dir, define_run_dir, define_temperature, load_model
from tfp_bruno.reconstruction import OutputSettings, check_output_dir
from tfp_bruno.reconstruction.atlas import AtlasSettings, write_atlas

RUN_DIR = define_run_dir()
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder to write; it must be empty or not exist.', required=True)
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace earlier results in --output_dir; other files are kept.')
NUM_SAMPLES = flags.DEFINE_integer('num_samples', 3, 'Number of random subjects to write.', lower_bound=0)
STD_SAMPLES = flags.DEFINE_integer(
    'std_samples', 50, 'Least number of samples for std.nii.gz; 0 for none.', lower_bound=0
)
MODES = flags.DEFINE_integer('modes', 3, 'Number of modes to write, each at both ends.', lower_bound=0)
DEVIATIONS = flags.DEFINE_float(
    'deviations', 2.0, 'Distance of both ends of a mode from the mean, in standard deviations.', lower_bound=0.0
)
SPACING = flags.DEFINE_float('spacing', 1.0, 'Side of an output voxel in mm.', lower_bound=0.25, upper_bound=20.0)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the random subjects.', lower_bound=0)
TEMPERATURE = define_temperature()


def main() -> None:
    """Writes the atlas.

    Raises:
        UserError: If a flag or a folder cannot be used.
    """
    check_run_dir(RUN_DIR.value)
    check_output_dir(OUTPUT_DIR.value, OVERWRITE.value)
    model = load_model(RUN_DIR.value, TEMPERATURE.value)
    from tfp_bruno.runs import prior_modes

    modes = prior_modes(model, MODES.value, DEVIATIONS.value) if MODES.value else None
    if MODES.value and modes is None:
        logging.warning('%s: has no factors of the subject, therefore no modes.', model.name)
    settings = AtlasSettings(
        num_samples=NUM_SAMPLES.value,
        std_samples=STD_SAMPLES.value,
        seed=SEED.value,
        output=OutputSettings(SPACING.value),
        overwrite=OVERWRITE.value,
        command=shlex.join(sys.argv),
    )
    write_atlas(model, OUTPUT_DIR.value, settings, modes)
    for name in ('mean.nii.gz', 'report.html'):
        app.print_path(pathlib.Path(OUTPUT_DIR.value) / name)


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
