r"""Registers the slices of a real stack to the volume completed from four slices of another one, and to averages.

    python benchmarks/real_stacks.py --run_dir=RUN --stacks=A.nii.gz,B.nii.gz --masks=AM.nii.gz,BM.nii.gz \
        --scan_slices='9,12,16,19;8,12,15,18' --reference=SVR.nii.gz --figure=FILE.png

Each of the two stacks is completed in turn, and the slices of the other are registered. The true motion is not known.
The transforms are compared with those found by registration to a reconstruction of all stacks (--reference), after the
rigid transform that all slices have in common is removed. That reconstruction may lie elsewhere and have no mask: the
whole stack is registered to it first, which places the mask. All other starts are the places in the file.
"""

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Mapping

import nibabel
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from scipy import ndimage

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno import motion
from tfp_bruno.cli import app
from tfp_bruno.cli.loading import load_model
from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError
from tfp_bruno.evaluation.plots import to_png
from tfp_bruno.evaluation.report import markdown_table
from tfp_bruno.reconstruction import Placing, ReconstructionSettings, SliceSelection, place_contexts, reconstruct
from tfp_bruno.reconstruction.contexts import read_scan

RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of a trained model.', required=True)
STACKS = flags.DEFINE_list('stacks', None, 'Two stacks.', required=True)
MASKS = flags.DEFINE_list('masks', None, 'Their masks.', required=True)
SCAN_SLICES = flags.DEFINE_string('scan_slices', None, 'The given slices of each, as 1,2,3;4,5,6.', required=True)
REFERENCE = flags.DEFINE_string('reference', None, 'Reconstruction of all stacks, in their world.', required=True)
SCAN_AXES = flags.DEFINE_string('scan_axes', 'header', 'As for bin/reconstruct.')
FIGURE = flags.DEFINE_string('figure', None, 'Picture to write.')

# Sides of the grid of the averages, mm, and their extent about the masks.
SPACING, BORDER = 1.5, 12.0
LEAST_AREA = 600.0
AS_ACQUIRED = 'none: as acquired'
LABELS = ('completed', 'target', 'correlation', 'error (mm)', 'degrees', 'within 2 mm', 'within 5 mm')


def complete(model, stack: str, mask: str, slices: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the volume completed from slices of a stack, and its affine."""
    scan, inside = read_scan(stack, mask, assume_ras=False)
    selection = SliceSelection(scan_slices=sorted(map(int, slices.split(','))))
    contexts = place_contexts(model, scan, selection, inside, Placing(scan_axes=SCAN_AXES.value))
    with tempfile.TemporaryDirectory() as folder:
        reconstruct(model, contexts, folder, ReconstructionSettings(std_samples=0, report=False))
        written = nibabel.load(pathlib.Path(folder) / 'mean.nii.gz')
        return written.get_fdata(dtype=np.float32), written.affine


def common_grid(stacks: list[motion.SliceStack]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Returns the shape and the affine of a grid about the masks of stacks, along the axes of the world."""
    points = np.concatenate([nibabel.affines.apply_affine(each.affine, np.argwhere(each.mask)) for each in stacks])
    low, high = points.min(axis=0) - BORDER, points.max(axis=0) + BORDER
    shape = tuple(int(size) for size in np.ceil((high - low) / SPACING))
    return shape, nibabel.affines.from_matvec(SPACING * np.eye(3), low)


def on_grid(volume: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int], grid: np.ndarray) -> np.ndarray:
    """Returns a volume on another grid."""
    return ndimage.affine_transform(volume, np.linalg.inv(affine) @ grid, output_shape=shape, order=1)


def register_to_reconstruction(
    stack: motion.SliceStack, volume: np.ndarray, affine: np.ndarray
) -> tuple[motion.Registered, np.ndarray, np.ndarray]:
    """Registers a stack to a reconstruction, as a whole, then slice by slice.

    Returns:
        found: The result of the slices.
        whole: The transform of the whole stack, `[4, 4]`.
        masked: The reconstruction inside the mask of the stack.
    """
    together = dataclasses.replace(stack, batches=np.zeros(stack.num_slices, int))
    settings = motion.RegistrationSettings(search=20.0, least_area=LEAST_AREA, together='batch')
    placed = motion.register_stacks([together], volume, affine, motion.identity_transforms([stack]), settings)
    whole = placed.transforms[0][int(np.argmax(stack.mask.sum(axis=(0, 1))))]
    inside = on_grid(stack.mask.astype(np.float32), whole @ stack.affine, volume.shape, affine) > 0.5
    masked = np.where(ndimage.binary_dilation(inside), volume, np.float32(0))
    start = [np.tile(whole, (stack.num_slices, 1, 1))]
    settings = motion.RegistrationSettings(least_area=LEAST_AREA)
    return motion.register_stacks([stack], masked, affine, start, settings), whole, masked


def compare(
    targets: Mapping[str, np.ndarray], reference: motion.Registered, other: motion.SliceStack, grid: np.ndarray
) -> dict[str, tuple[float, dict[str, float]]]:
    """Returns the correlation and the scores of each target: slices of another stack registered to it."""
    start, truth = motion.identity_transforms([other]), reference.transforms
    used = motion.usable_slices([other], LEAST_AREA)
    settings = motion.RegistrationSettings(least_area=LEAST_AREA)
    rows = {AS_ACQUIRED: (np.nan, motion.slice_errors([other], truth, start, used).summary())}
    for name, target in targets.items():
        found = motion.register_stacks([other], target, grid, start, settings)
        errors = motion.slice_errors([other], truth, found.transforms, used)
        rows[name] = (float(np.nanmedian(found.correlations[0])), errors.summary())
    return rows


def draw(pictures: list[tuple[str, Mapping[str, np.ndarray]]]) -> Figure:
    """Draws three planes of each volume, two rows of targets."""
    columns = max(len(volumes) for _, volumes in pictures)
    figure = Figure(figsize=(1.9 * columns, 6.2 * len(pictures)), dpi=110, layout='constrained')
    for part, (title, volumes) in zip(figure.subfigures(len(pictures), 1, squeeze=False)[:, 0], pictures, strict=True):
        part.suptitle(title, fontsize=9)
        axes = part.subplots(3, columns, squeeze=False)
        first = next(iter(volumes.values()))
        middle = np.round(ndimage.center_of_mass(first > 0)).astype(int)
        for column, (name, volume) in zip(axes.T, volumes.items(), strict=False):
            column[0].set_title(name, fontsize=8)
            bright = np.percentile(volume[volume > 0], 99.5)
            for plane, place in enumerate(column):
                image = np.take(volume, middle[2 - plane], axis=2 - plane).T
                place.imshow(image, cmap='gray', vmin=0, vmax=bright, origin='lower')
        for place in axes.flat:
            place.set_axis_off()
    return figure


def main() -> None:
    """Completes either stack, registers the slices of the other and prints the table."""
    given = SCAN_SLICES.value.split(';')
    if not len(STACKS.value) == len(MASKS.value) == len(given) == 2:
        raise UserError('--stacks, --masks, --scan_slices: are not two each; give two of each.')
    model = load_model(RUN_DIR.value, 1.0, 'auto')
    stacks = [motion.read_stack(path, mask) for path, mask in zip(STACKS.value, MASKS.value, strict=True)]
    shape, grid = common_grid(stacks)
    start = motion.identity_transforms(stacks)
    published = nibabel.load(REFERENCE.value)
    reconstruction = published.get_fdata(dtype=np.float32)
    average = motion.gaussian_average(stacks, start, shape, grid)
    table, pictures = [], []
    for number, (stack, mask, slices) in enumerate(zip(STACKS.value, MASKS.value, given, strict=True)):
        other = stacks[1 - number]
        reference, whole, masked = register_to_reconstruction(other, reconstruction, published.affine)
        volume, affine = complete(model, stack, mask, slices)
        targets = {
            'average of the two stacks': average,
            'average of the completed stack': motion.gaussian_average([stacks[number]], [start[number]], shape, grid),
            'completion of four slices': on_grid(volume, affine, shape, grid),
        }
        name = f'stack {number + 1}, slices {slices}'
        print(f'{name}: correlation with the reconstruction {np.nanmedian(reference.correlations[0]):.3f}')
        for target, (correlation, errors) in compare(targets, reference, other, grid).items():
            table.append([name, target, f'{correlation:.3f}', *(f'{value:.2f}' for value in errors.values())])
        moved = on_grid(masked, np.linalg.inv(whole) @ published.affine, shape, grid)
        pictures.append((name, {'reconstruction of all stacks': moved, **targets}))
    print('\n'.join(markdown_table(LABELS, table)))
    if FIGURE.value:
        atomic.write_bytes(FIGURE.value, to_png(draw(pictures)))


if __name__ == '__main__':
    app.run_main(main)
