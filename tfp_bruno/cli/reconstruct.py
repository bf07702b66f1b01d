"""Completes a volume from a few slices of a scan with a trained model.

    bin/reconstruct --run_dir=RUN --stack=SCAN.nii.gz --slices=10,30,50,70 --output_dir=OUT

Writes mean.nii.gz, std.nii.gz, mask.nii.gz, samples/, mosaic.png and reconstruction.json to OUT, in the world space of
the scan. Without slices (--slices=) it writes the atlas of the population that the model was trained on.
"""

import pathlib
import shlex
import sys

from absl import flags

from tfp_bruno.cli import app
from tfp_bruno.data import Volume, read_volume
from tfp_bruno.errors import UserError
from tfp_bruno.volumes import ReconstructionSettings, check_output_dir, reconstruct

RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of a trained model, the --output_dir of bin/train.')
STACK = flags.DEFINE_string('stack', None, 'NIfTI volume that holds the context slices.')
SLICES = flags.DEFINE_list(
    'slices', None, "Context slices, as positions in the model's stack: from 0 (inferior) up. Empty gives the atlas."
)
SCAN_SLICES = flags.DEFINE_list(
    'scan_slices', None, "Context slices, as indices from 0 along the scan's own slice axis, instead of --slices."
)
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder to write; it must be empty or not exist.')
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace earlier results in --output_dir; other files stay.')
NUM_SAMPLES = flags.DEFINE_integer('num_samples', 0, 'Number of sampled volumes to write.', lower_bound=0)
SPACING = flags.DEFINE_float('spacing', 1.0, 'Side of an output voxel in mm.', lower_bound=0.25, upper_bound=20.0)
INTENSITY = flags.DEFINE_enum(
    'intensity',
    'scan',
    ['scan', 'target'],
    'scan: intensities of the scan; target: background 0 and foreground mean 700, for slice-to-volume tools.',
)
ASSUME_RAS = flags.DEFINE_bool('assume_ras', False, 'Take a scan that has no orientation as RAS, centred at world 0.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the samples.')

flags.mark_flags_as_required(['run_dir', 'output_dir'])


def main(argv: list[str]) -> None:
    """Completes a volume as the flags say.

    Args:
        argv: the command and what is left of its arguments after the flags.

    Raises:
        UserError: if a flag, a file or a folder cannot be used.
    """
    if len(argv) > 1:
        raise UserError(f'{argv[1]}: is no flag; see --help.')
    settings = ReconstructionSettings(
        slices=parse_slices('--slices', SLICES.value),
        scan_slices=parse_slices('--scan_slices', SCAN_SLICES.value),
        num_samples=NUM_SAMPLES.value,
        seed=SEED.value,
        spacing=SPACING.value,
        intensity=INTENSITY.value,
        overwrite=OVERWRITE.value,
        command=shlex.join(sys.argv),
    )
    scan = read_inputs(settings)
    # TensorFlow takes seconds to import: everything above fails, if it must, at once.
    app.import_tensorflow()
    from tfp_bruno.runs import load

    reconstruct(load(RUN_DIR.value), scan, OUTPUT_DIR.value, settings)
    print(f'{pathlib.Path(OUTPUT_DIR.value) / "mean.nii.gz"}')
    print(f'{pathlib.Path(OUTPUT_DIR.value) / "mosaic.png"}')


def read_inputs(settings: ReconstructionSettings) -> Volume | None:
    """Checks the folders and reads the scan, before any long work.

    Args:
        settings: what will be done.

    Returns:
        The scan, or None for the atlas without a scan.

    Raises:
        UserError: if the run folder is missing, the scan is missing, cannot be used or lies in the output folder, or
            the output folder cannot be written.
    """
    if not pathlib.Path(RUN_DIR.value).is_dir():
        raise UserError(f'{RUN_DIR.value}: there is no such run folder; give the --output_dir of bin/train.')
    if STACK.value is None:
        if settings.needs_scan:
            raise UserError('--stack: is missing; give the scan that holds the slices, or --slices= for the atlas.')
        check_output_dir(OUTPUT_DIR.value, settings.overwrite)
        return None
    if pathlib.Path(OUTPUT_DIR.value).resolve() in pathlib.Path(STACK.value).resolve().parents:
        raise UserError(f'{OUTPUT_DIR.value}: holds the scan itself; give another --output_dir.')
    check_output_dir(OUTPUT_DIR.value, settings.overwrite)
    return read_volume(STACK.value, ASSUME_RAS.value)


def parse_slices(flag: str, texts: list[str] | None) -> tuple[int, ...] | None:
    """Returns the numbers of a list flag.

    Args:
        flag: its name, for the error.
        texts: its elements; None if it was not given.

    Returns:
        The numbers; None if the flag was not given.

    Raises:
        UserError: if an element is not a whole number.
    """
    if texts is None:
        return None
    try:
        return tuple(int(text) for text in texts)
    except ValueError:
        raise UserError(f'{flag}={",".join(texts)}: give whole numbers separated by commas.') from None


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
