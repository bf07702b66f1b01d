"""Completes volumes from a few slices with a trained model.

    bin/reconstruct --run_dir=RUN --stack=SCAN.nii.gz --slices=10,30,50,70 --output_dir=OUT
    bin/reconstruct --run_dir=RUN --slice_dir=FOLDER --output_dir=OUT
    bin/reconstruct --run_dir=RUN --bids_dir=STUDY --slices=10,30,50,70 --output_dir=OUT

Writes mean.nii.gz, std.nii.gz, mask.nii.gz, samples/, mosaic.png, report.html and reconstruction.json to OUT, in the
world space of the scan; for a study, to one folder for each subject. Without slices (--slices=) it writes the atlas of
the population that the model was trained on; bin/atlas also writes its modes.
"""

import dataclasses
import math
import pathlib
import shlex
import sys
from collections.abc import Callable

from absl import flags

from tfp_bruno.cli import app
from tfp_bruno.cli.loading import check_run_dir, define_align, define_run_dir, define_temperature, load_model
from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import find_subjects, read_volume
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.reconstruction import (
    Contexts,
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    check_output_dir,
    contexts_of_slices,
    no_contexts,
    read_slice_folder,
    reconstruct,
)
from tfp_bruno.reconstruction.alignment import reference_affine, training_frame
from tfp_bruno.reconstruction.completion import Scorer
from tfp_bruno.reconstruction.contexts import read_scan
from tfp_bruno.reconstruction.intensity import INTENSITIES
from tfp_bruno.reconstruction.placing import PLACEMENTS, Placing, place_contexts
from tfp_bruno.reconstruction.scan_axes import HEADER
from tfp_bruno.reconstruction.sidecar import describe_inputs
from tfp_bruno.reconstruction.slice_folder import list_slices
from tfp_bruno.reconstruction.study import StudySettings, choose_subjects, reconstruct_study, subject_folders
from tfp_bruno.reconstruction.study_report import write_study_report

RUN_DIR = define_run_dir()
STACK = flags.DEFINE_string('stack', None, 'NIfTI volume that holds the context slices.')
SLICE_DIR = flags.DEFINE_string(
    'slice_dir', None, 'Folder of single-slice NIfTI files, each with its affine: 0.nii.gz, ..., mask_0.nii.gz.'
)
BIDS_DIR = flags.DEFINE_string('bids_dir', None, 'Folder of a study, BIDS or flat: every subject is completed.')
PARTICIPANT_LABEL = flags.DEFINE_list('participant_label', None, 'Subjects of --bids_dir; default: all.')
SLICES = flags.DEFINE_list(
    'slices', None, "Context slices, as positions in the model's stack, from 0 up. Empty gives the atlas."
)
SCAN_SLICES = flags.DEFINE_list(
    'scan_slices', None, "Context slices, as indices from 0 along the scan's own slice axis, instead of --slices."
)
WORLD_POSITIONS = flags.DEFINE_list(
    'world_positions', None, "Context slices, as world coordinates in mm along the slices' normal, instead of --slices."
)
MASK = flags.DEFINE_string('mask', None, 'NIfTI mask on the grid of --stack: everything outside becomes background.')
USE_MASKS = flags.DEFINE_bool(
    'use_masks',
    False,
    'With --bids_dir: each scan has a mask beside it (sub-01_mask, sub-01_desc-brain_mask, case_01_mask): everything '
    'outside becomes background.',
)
REFERENCE = flags.DEFINE_string(
    'reference',
    None,
    'NIfTI volume in the world of --stack or --slice_dir that shows the whole anatomy: it determines the place of the '
    'slices. Default: the scan itself; with --slice_dir, the frame of the training data.',
)
PLACEMENT = flags.DEFINE_enum(
    'placement',
    'auto',
    PLACEMENTS,
    'Place of the stack in a scan. file: as in the training files; anatomy: about the mask, or about the foreground '
    'without one, turned in the plane as the anatomy is (needs a model of the preset map); auto: anatomy, if the model '
    'can and the scan is unlike the training files, otherwise file.',
)
SCAN_AXES = flags.DEFINE_string(
    'scan_axes',
    HEADER,
    "Directions in which the axes of the scan's file point in the anatomy. header: those of the header; three letters, "
    'such as RAS; unknown: the slices lie in the plane of the model, and their direction and turn are found (needs '
    '--scan_slices).',
)
OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Folder to write; it must be empty or not exist.', required=True)
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace earlier results in --output_dir; other files are kept.')
NUM_SAMPLES = flags.DEFINE_integer('num_samples', 0, 'Number of sampled volumes to write.', lower_bound=0)
STD_SAMPLES = flags.DEFINE_integer(
    'std_samples', 50, 'Least number of samples for std.nii.gz; 0 for none, which is fastest.', lower_bound=0
)
INTERVAL = flags.DEFINE_bool('interval', False, 'Also write lower.nii.gz and upper.nii.gz, the ends of 95 % intervals.')
SPACING = flags.DEFINE_float('spacing', 1.0, 'Side of an output voxel in mm.', lower_bound=0.25, upper_bound=20.0)
INTENSITY = flags.DEFINE_enum(
    'intensity',
    'scan',
    INTENSITIES,
    'scan: intensities of the scan, for CT shifted so that air is 0; target: background 0 and foreground mean 700, for '
    'slice-to-volume tools; hounsfield: for CT, Hounsfield units, with air at the lower end of the window.',
)
KEEP_CONTEXTS = flags.DEFINE_bool('keep_contexts', False, 'Put the given slices back as they were read.')
CANONICAL = flags.DEFINE_bool('canonical', False, 'Also write everything in the training frame, with its 4 x 4 matrix.')
REPORT = flags.DEFINE_bool('report', True, 'Write report.html and mosaic.png.')
PROGRESS = flags.DEFINE_bool('progress', True, 'Show a progress bar over the subjects of --bids_dir, on a terminal.')
ASSUME_RAS = flags.DEFINE_bool(
    'assume_ras',
    False,
    'Read scans, masks and a reference without an orientation as RAS, centred on world 0; single slices must have one.',
)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the samples.', lower_bound=0)
TEMPERATURE = define_temperature()
ALIGN = define_align()


def main() -> None:
    """Completes a volume, or the volumes of a study.

    Raises:
        UserError: If a flag, a file or a folder cannot be used, or a subject of a study failed.
    """
    check_flags()
    settings = read_settings()
    if BIDS_DIR.value is not None:
        reconstruct_all(BIDS_DIR.value, settings)
        return
    with collect_warnings() as warnings:
        inputs = describe_inputs(list_inputs())
        make_contexts = read_inputs()
        check_output_dir(OUTPUT_DIR.value, settings.overwrite)
        model, scorer = load_model_and_scorer(settings)
        contexts = make_contexts(model)
    contexts = dataclasses.replace(contexts, inputs=inputs, warnings=warnings)
    reconstruct(model, contexts, OUTPUT_DIR.value, settings, scorer)
    for name in ('mean.nii.gz', 'report.html') if settings.report else ('mean.nii.gz',):
        app.print_path(pathlib.Path(OUTPUT_DIR.value) / name)


def check_flags() -> None:
    """Raises a UserError if flags exclude each other, or there is no trained model."""
    given = [flag for flag in (STACK, SLICE_DIR, BIDS_DIR) if flag.value is not None]
    if len(given) > 1:
        raise UserError(f'--{given[0].name}, --{given[1].name}: exclude each other; leave one out.')
    selection = next((flag for flag in (SLICES, SCAN_SLICES, WORLD_POSITIONS) if flag.value is not None), None)
    if SLICE_DIR.value is not None and selection is not None:
        raise UserError(f'--{selection.name}, --slice_dir: exclude each other; leave one out.')
    for flag, other in ((MASK, STACK), (PARTICIPANT_LABEL, BIDS_DIR)):
        if flag.value is not None and other.value is None:
            raise UserError(f'--{flag.name}: needs --{other.name}; give that, too, or leave it out.')
    if REFERENCE.value is not None and STACK.value is None and SLICE_DIR.value is None:
        raise UserError('--reference: needs --stack or --slice_dir; give one of them, or leave it out.')
    for name, flag, default in (('placement', PLACEMENT, 'auto'), ('scan_axes', SCAN_AXES, HEADER)):
        if flag.value != default and STACK.value is None and BIDS_DIR.value is None:
            raise UserError(f'--{name}: needs --stack or --bids_dir; give one of them, or leave it out.')
    if USE_MASKS.value and BIDS_DIR.value is None:
        raise UserError('--use_masks: needs --bids_dir; give --mask for a single scan.')
    check_run_dir(RUN_DIR.value)


def read_settings() -> ReconstructionSettings:
    """Returns the settings of the completion from the flags."""
    return ReconstructionSettings(
        num_samples=NUM_SAMPLES.value,
        std_samples=STD_SAMPLES.value,
        interval=INTERVAL.value,
        seed=SEED.value,
        report=REPORT.value,
        output=OutputSettings(SPACING.value, INTENSITY.value, KEEP_CONTEXTS.value, CANONICAL.value),
        overwrite=OVERWRITE.value,
        command=shlex.join(sys.argv),
    )


def read_selection() -> SliceSelection:
    """Returns the context slices of a scan from the flags."""
    return SliceSelection(
        parse_numbers('--slices', SLICES.value, int),
        parse_numbers('--scan_slices', SCAN_SLICES.value, int),
        parse_numbers('--world_positions', WORLD_POSITIONS.value, float),
    )


def list_inputs() -> list[tuple[str, pathlib.Path]]:
    """Returns role and path of each input file, see `describe_inputs`."""
    check_not_inside(STACK.value, SLICE_DIR.value, REFERENCE.value, MASK.value)
    named = (('scan', STACK.value), ('mask', MASK.value), ('reference', REFERENCE.value))
    files = [(role, pathlib.Path(path)) for role, path in named if path is not None]
    if SLICE_DIR.value is not None:
        for path, mask in list_slices(pathlib.Path(SLICE_DIR.value)).items():
            files += [('slice', path)] if mask is None else [('slice', path), ('mask', mask)]
    return files


def read_inputs() -> Callable[[CompletionModel], Contexts]:
    """Reads the slices, before any long work.

    Returns:
        A function that returns the contexts of a model.

    Raises:
        UserError: If a file is missing or cannot be used.
    """
    reference = None if REFERENCE.value is None else read_volume(REFERENCE.value, ASSUME_RAS.value)
    folder = SLICE_DIR.value
    if folder is not None:
        slices = read_slice_folder(folder)
        return lambda model: contexts_of_slices(
            slices,
            reference_affine(model.info, model.definition, reference),
            model.definition,
            folder,
            training_frame(model.info),
        )
    selection, placing = read_selection(), Placing(PLACEMENT.value, SCAN_AXES.value)
    if STACK.value is None and selection.needs_scan:
        raise UserError('--stack: is missing; give the scan that holds the slices, or --slices= for the atlas.')
    scan, mask = (None, None) if STACK.value is None else read_scan(STACK.value, MASK.value, ASSUME_RAS.value)

    def make_contexts(model: CompletionModel) -> Contexts:
        if scan is None:
            return no_contexts(model.definition)
        affine = None if reference is None else reference_affine(model.info, model.definition, reference)
        return place_contexts(model, scan, selection, mask, placing, affine)

    return make_contexts


def check_not_inside(*inputs: str | None) -> None:
    """Raises a UserError if an input is the output folder or lies in it."""
    output_dir = pathlib.Path(OUTPUT_DIR.value).resolve()
    for path in inputs:
        if path is not None and output_dir in (pathlib.Path(path).resolve(), *pathlib.Path(path).resolve().parents):
            raise UserError(f'{OUTPUT_DIR.value}: holds {path} itself; give another --output_dir.')


def load_model_and_scorer(settings: ReconstructionSettings) -> tuple[CompletionModel, Scorer | None]:
    """Returns the trained model, and its scorer if a report needs one."""
    model = load_model(RUN_DIR.value, TEMPERATURE.value, ALIGN.value)
    from tfp_bruno.runs import make_scorer

    settings.output.check_dataset(model.definition)
    return model, make_scorer(model) if settings.report else None


def reconstruct_all(bids_dir: str, settings: ReconstructionSettings) -> None:
    """Completes the subjects of a study.

    Args:
        bids_dir: The folder of the study.
        settings: How each subject is completed.

    Raises:
        UserError: If the folders cannot be used or, at the end, a subject failed.
    """
    check_not_inside(bids_dir)
    placing = Placing(PLACEMENT.value, SCAN_AXES.value)
    study = StudySettings(read_selection(), USE_MASKS.value, ASSUME_RAS.value, settings, placing)
    with collect_warnings() as warnings:
        subjects = choose_subjects(find_subjects(bids_dir), PARTICIPANT_LABEL.value)
    folder = pathlib.Path(OUTPUT_DIR.value)
    subject_folders(subjects, folder)
    # The folder may hold files, since an interrupted study can be continued.
    check_output_dir(folder, overwrite=True)
    model, scorer = load_model_and_scorer(settings)
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = reconstruct_study(model, subjects, folder, study, scorer, PROGRESS.value)
    title = f'{model.definition.name}: {len(outcomes)} volumes'
    shown = [dataclasses.replace(outcome, error=app.with_flags(outcome.error)) for outcome in outcomes]
    write_study_report(folder, shown, title, settings.command, warnings)
    app.print_path(folder / 'report.html')
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        names = ', '.join(outcome.folder.relative_to(folder).as_posix() for outcome in failed)
        raise UserError(
            f'{len(failed)} of {len(outcomes)} volumes failed ({names}); {folder / "report.html"} says why.'
        )


def parse_numbers(flag: str, texts: list[str] | None, kind: type) -> tuple | None:
    """Returns the numbers of a list flag; None if it was not given.

    Args:
        flag: Name of the flag, for the error.
        texts: Elements of the flag; None if it was not given.
        kind: Type of the numbers, int or float.

    Raises:
        UserError: If an element is not such a number, or not finite.
    """
    if texts is None:
        return None
    try:
        numbers = tuple(kind(text) for text in texts)
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        wanted = 'whole numbers' if kind is int else 'numbers in mm'
        raise UserError(f'{flag}={",".join(texts)}: give {wanted} separated by commas.')
    return numbers


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
