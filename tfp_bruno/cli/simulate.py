"""Simulates stacks of thick slices of an anatomy that moves while they are acquired.

    bin/simulate --input=VOLUME.nii.gz --output_dir=OUT --translation=10 --rotation=10

Writes one stack for each plane with its mask, the true motion of every slice in motion.tsv, and slices and transforms
in the files that NeSVoR, SVRTK and NiftyMIC read.
"""

import dataclasses
import json
import pathlib
import shlex
import sys

from absl import flags

from tfp_bruno.cli import app
from tfp_bruno.data import read_mask, read_volume
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.motion import ArtefactSettings, MotionSettings, StackProtocol, simulate_stacks, write_simulation
from tfp_bruno.motion.protocol import PROFILES, STACK_AXES
from tfp_bruno.motion.trajectory import COURSES
from tfp_bruno.reconstruction import check_output_dir
from tfp_bruno.reconstruction.output_folder import staged
from tfp_bruno.version import __version__

SIDECAR = 'simulation.json'

INPUT = flags.DEFINE_string(
    'input', None, 'NIfTI volume of the anatomy at rest; no negative intensities.', required=True
)
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder to write; it must be empty or not exist.', required=True)
MASK = flags.DEFINE_string(
    'mask', None, 'NIfTI mask of the anatomy on the grid of --input; default: all voxels above 0.'
)
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace earlier results in --output_dir; other files are kept.')
PLANES = flags.DEFINE_list('planes', list(STACK_AXES), 'Planes of the stacks, in order of time.')
THICKNESS = flags.DEFINE_float('thickness', 3.0, 'Thickness of a slice in mm.')
SPACING = flags.DEFINE_float('spacing', 3.0, 'Distance between the middles of neighbouring slices in mm, with the gap.')
PIXEL_SPACING = flags.DEFINE_float('pixel_spacing', 1.25, 'Side of a pixel in mm.')
PROFILE = flags.DEFINE_enum('profile', 'gaussian', PROFILES, 'Sensitivity across a slice.')
SIMULTANEOUS = flags.DEFINE_integer('simultaneous', 4, 'Slices in a batch, taken at the same moment.')
INTERLEAVE = flags.DEFINE_integer('interleave', 2, 'Step from one batch to the next.')
MARGIN = flags.DEFINE_float('margin', 15.0, 'Field of view beyond the anatomy in mm.')
TRANSLATION = flags.DEFINE_float('translation', 10.0, 'Largest translation along each axis in mm.')
ROTATION = flags.DEFINE_float('rotation', 0.0, 'Largest rotation about each axis in degrees.')
COURSE = flags.DEFINE_enum('course', 'independent', COURSES, 'How the position of one batch follows that of another.')
NOISE = flags.DEFINE_float('noise', 0.0, 'Deviation of the noise, as a share of the mean intensity of the anatomy.')
BIAS = flags.DEFINE_float('bias', 0.0, 'Largest deviation of the bias field from 1.')
DROPOUT = flags.DEFINE_float('dropout', 0.0, 'Share of the slices that lose signal.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed; the same seed gives the same motion and the same noise.', lower_bound=0)


def main() -> None:
    """Simulates the stacks that the flags describe.

    Raises:
        UserError: If a flag, a file or the folder cannot be used.
    """
    protocol = StackProtocol(
        THICKNESS.value,
        SPACING.value,
        PIXEL_SPACING.value,
        SIMULTANEOUS.value,
        INTERLEAVE.value,
        PROFILE.value,
        MARGIN.value,
    )
    motion = MotionSettings(TRANSLATION.value, ROTATION.value, COURSE.value)
    artefacts = ArtefactSettings(NOISE.value, BIAS.value, DROPOUT.value)
    check_output_dir(OUTPUT_DIR.value, OVERWRITE.value)
    with collect_warnings() as warnings:
        volume = read_volume(INPUT.value)
        mask = volume.data > 0 if MASK.value is None else read_mask(MASK.value, volume)
        if MASK.value is None and mask.all():
            raise UserError(
                f'`mask`: is missing, and {volume.path} has no background of 0; give a mask of the anatomy.'
            )
        simulated = simulate_stacks(
            volume.data, mask, volume.affine, protocol, motion, artefacts, SEED.value, PLANES.value
        )
        with staged(OUTPUT_DIR.value, OVERWRITE.value, SIDECAR) as folder:
            write_simulation(folder, simulated)
            about = {
                'version': __version__,
                'command': shlex.join(sys.argv),
                'input': str(volume.path),
                'mask': MASK.value,
                'seed': SEED.value,
                'planes': PLANES.value,
                'protocol': dataclasses.asdict(protocol),
                'motion': dataclasses.asdict(motion),
                'artefacts': dataclasses.asdict(artefacts),
                'warnings': warnings,
            }
            (folder / SIDECAR).write_text(json.dumps(about, indent=2) + '\n', encoding='utf-8')
    app.print_path(pathlib.Path(OUTPUT_DIR.value) / 'motion.tsv')


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
